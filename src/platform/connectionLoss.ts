/** Connection lost, server stopping, crashed or internal error. */
const lostStates: ReadonlySet<string> = new Set(['08006', '08003', '57P01', '57P02', 'XX000', 'ECONNRESET', 'EPIPE']);

/** What the driver says without a code when it lost the connection it was using, or finds it lost. */
const lostMessages = /\bconnection terminated|is not queryable/i;

export const sqlState = (error: unknown): string | undefined => {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
};

/** Has the database gone away in the middle? Before a COMMIT was sent, nothing of the transaction is left then. */
export const isConnectionLost = (error: unknown): boolean =>
  lostStates.has(sqlState(error) ?? '') || (error instanceof Error && lostMessages.test(error.message));
