/** Under which usage that changed is announced; the message is empty. */
export const usageTopic = (accountId: string): string => `usage:${accountId}`;
