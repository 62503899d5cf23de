/* eslint-disable */
import * as types from './graphql.js';
import type { TypedDocumentNode as DocumentNode } from '@graphql-typed-document-node/core';

/**
 * Map of all GraphQL operations in the project.
 *
 * This map has several performance disadvantages:
 * 1. It is not tree-shakeable, so it will include all operations in the project.
 * 2. It is not minifiable, so the string of a GraphQL query will be multiple times inside the bundle.
 * 3. It does not support dead code elimination, so it will add unused operations.
 *
 * Therefore it is highly recommended to use the babel or swc plugin for production.
 * Learn more about it here: https://the-guild.dev/graphql/codegen/plugins/presets/preset-client#reducing-bundle-size
 */
type Documents = {
    "query Overview {\n  viewer {\n    id\n    name\n    subscription {\n      id\n      version\n      status\n      plan {\n        code\n        price {\n          amount\n          currency\n        }\n      }\n      currentPeriod {\n        start\n        end\n      }\n    }\n    wallet {\n      balance {\n        amount\n        currency\n      }\n    }\n  }\n  usage {\n    watermark\n    items {\n      metric {\n        code\n      }\n      used\n      limit\n      percent\n    }\n  }\n  invoices(first: 5) {\n    nodes {\n      id\n      number\n      status\n      total {\n        amount\n      }\n      pdfUrl\n    }\n  }\n}\n\nsubscription WatchThresholds($after: String) {\n  usageThreshold(after: $after) {\n    cursor\n    metric {\n      code\n    }\n    thresholdPercent\n    used\n    limit\n  }\n}\n\nmutation RegisterWebhook($input: WebhookEndpointInput!) {\n  createWebhookEndpoint(input: $input) {\n    webhookEndpoint {\n      id\n      url\n      secret\n    }\n    userErrors {\n      code\n      message\n      field\n    }\n  }\n}\n\nmutation TopUp($input: TopUpInput!) {\n  topUp(input: $input) {\n    wallet {\n      balance {\n        amount\n      }\n    }\n    payment {\n      status\n    }\n    userErrors {\n      code\n      message\n      declineCode\n    }\n    replayed\n  }\n}\n\nmutation ChangePlan($input: ChangePlanInput!) {\n  changePlan(input: $input) {\n    subscription {\n      status\n      plan {\n        code\n      }\n    }\n    invoice {\n      id\n      number\n      status\n      total {\n        amount\n      }\n    }\n    userErrors {\n      code\n      message\n    }\n  }\n}": typeof types.OverviewDocument,
};
const documents: Documents = {
    "query Overview {\n  viewer {\n    id\n    name\n    subscription {\n      id\n      version\n      status\n      plan {\n        code\n        price {\n          amount\n          currency\n        }\n      }\n      currentPeriod {\n        start\n        end\n      }\n    }\n    wallet {\n      balance {\n        amount\n        currency\n      }\n    }\n  }\n  usage {\n    watermark\n    items {\n      metric {\n        code\n      }\n      used\n      limit\n      percent\n    }\n  }\n  invoices(first: 5) {\n    nodes {\n      id\n      number\n      status\n      total {\n        amount\n      }\n      pdfUrl\n    }\n  }\n}\n\nsubscription WatchThresholds($after: String) {\n  usageThreshold(after: $after) {\n    cursor\n    metric {\n      code\n    }\n    thresholdPercent\n    used\n    limit\n  }\n}\n\nmutation RegisterWebhook($input: WebhookEndpointInput!) {\n  createWebhookEndpoint(input: $input) {\n    webhookEndpoint {\n      id\n      url\n      secret\n    }\n    userErrors {\n      code\n      message\n      field\n    }\n  }\n}\n\nmutation TopUp($input: TopUpInput!) {\n  topUp(input: $input) {\n    wallet {\n      balance {\n        amount\n      }\n    }\n    payment {\n      status\n    }\n    userErrors {\n      code\n      message\n      declineCode\n    }\n    replayed\n  }\n}\n\nmutation ChangePlan($input: ChangePlanInput!) {\n  changePlan(input: $input) {\n    subscription {\n      status\n      plan {\n        code\n      }\n    }\n    invoice {\n      id\n      number\n      status\n      total {\n        amount\n      }\n    }\n    userErrors {\n      code\n      message\n    }\n  }\n}": types.OverviewDocument,
};

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 *
 *
 * @example
 * ```ts
 * const query = graphql(`query GetUser($id: ID!) { user(id: $id) { name } }`);
 * ```
 *
 * The query argument is unknown!
 * Please regenerate the types.
 */
export function graphql(source: string): unknown;

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "query Overview {\n  viewer {\n    id\n    name\n    subscription {\n      id\n      version\n      status\n      plan {\n        code\n        price {\n          amount\n          currency\n        }\n      }\n      currentPeriod {\n        start\n        end\n      }\n    }\n    wallet {\n      balance {\n        amount\n        currency\n      }\n    }\n  }\n  usage {\n    watermark\n    items {\n      metric {\n        code\n      }\n      used\n      limit\n      percent\n    }\n  }\n  invoices(first: 5) {\n    nodes {\n      id\n      number\n      status\n      total {\n        amount\n      }\n      pdfUrl\n    }\n  }\n}\n\nsubscription WatchThresholds($after: String) {\n  usageThreshold(after: $after) {\n    cursor\n    metric {\n      code\n    }\n    thresholdPercent\n    used\n    limit\n  }\n}\n\nmutation RegisterWebhook($input: WebhookEndpointInput!) {\n  createWebhookEndpoint(input: $input) {\n    webhookEndpoint {\n      id\n      url\n      secret\n    }\n    userErrors {\n      code\n      message\n      field\n    }\n  }\n}\n\nmutation TopUp($input: TopUpInput!) {\n  topUp(input: $input) {\n    wallet {\n      balance {\n        amount\n      }\n    }\n    payment {\n      status\n    }\n    userErrors {\n      code\n      message\n      declineCode\n    }\n    replayed\n  }\n}\n\nmutation ChangePlan($input: ChangePlanInput!) {\n  changePlan(input: $input) {\n    subscription {\n      status\n      plan {\n        code\n      }\n    }\n    invoice {\n      id\n      number\n      status\n      total {\n        amount\n      }\n    }\n    userErrors {\n      code\n      message\n    }\n  }\n}"): (typeof documents)["query Overview {\n  viewer {\n    id\n    name\n    subscription {\n      id\n      version\n      status\n      plan {\n        code\n        price {\n          amount\n          currency\n        }\n      }\n      currentPeriod {\n        start\n        end\n      }\n    }\n    wallet {\n      balance {\n        amount\n        currency\n      }\n    }\n  }\n  usage {\n    watermark\n    items {\n      metric {\n        code\n      }\n      used\n      limit\n      percent\n    }\n  }\n  invoices(first: 5) {\n    nodes {\n      id\n      number\n      status\n      total {\n        amount\n      }\n      pdfUrl\n    }\n  }\n}\n\nsubscription WatchThresholds($after: String) {\n  usageThreshold(after: $after) {\n    cursor\n    metric {\n      code\n    }\n    thresholdPercent\n    used\n    limit\n  }\n}\n\nmutation RegisterWebhook($input: WebhookEndpointInput!) {\n  createWebhookEndpoint(input: $input) {\n    webhookEndpoint {\n      id\n      url\n      secret\n    }\n    userErrors {\n      code\n      message\n      field\n    }\n  }\n}\n\nmutation TopUp($input: TopUpInput!) {\n  topUp(input: $input) {\n    wallet {\n      balance {\n        amount\n      }\n    }\n    payment {\n      status\n    }\n    userErrors {\n      code\n      message\n      declineCode\n    }\n    replayed\n  }\n}\n\nmutation ChangePlan($input: ChangePlanInput!) {\n  changePlan(input: $input) {\n    subscription {\n      status\n      plan {\n        code\n      }\n    }\n    invoice {\n      id\n      number\n      status\n      total {\n        amount\n      }\n    }\n    userErrors {\n      code\n      message\n    }\n  }\n}"];

export function graphql(source: string) {
  return (documents as any)[source] ?? {};
}

export type DocumentType<TDocumentNode extends DocumentNode<any, any>> = TDocumentNode extends DocumentNode<  infer TType,  any>  ? TType  : never;