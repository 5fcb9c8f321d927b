import type { IRedisClient, IRedisTransaction } from 'bullmq';
import { FENCED } from './redis-errors.js';

/**
 * A client for BullMQ of which every script, BullMQ's own ones too, first looks whether the lease is still held under the
 * token it was made with, and changes nothing when it is not. So what a stopped and woken coordinator still sends does no
 * harm, atomically.
 *
 * The token is one more argument at the end of every call; the script takes it off before the rest of it sees its arguments.
 */
export function fencedClient(client: IRedisClient, tokenKey: string, token: number): IRedisClient {
  const fence = `
if redis.call('GET', '${tokenKey}') ~= table.remove(ARGV) then return redis.error_reply('${FENCED}') end
`;
  const overrides: Partial<IRedisClient> = {
    defineCommand: (name, definition) => client.defineCommand(name, { ...definition, lua: fence + definition.lua }),
    runCommand: (name, words) => client.runCommand(name, [...words, token]),
    multi: () => fencedTransaction(client.multi(), token),
    pipeline: () => fencedTransaction(client.pipeline(), token),
  };
  return new Proxy(client, {
    get: (target, property) => Reflect.get(property in overrides ? overrides : target, property),
  });
}

function fencedTransaction(transaction: IRedisTransaction, token: number): IRedisTransaction {
  const runCommand = transaction.runCommand.bind(transaction);
  transaction.runCommand = (name, words) => {
    runCommand(name, [...words, token]);
    return transaction;
  };
  return transaction;
}
