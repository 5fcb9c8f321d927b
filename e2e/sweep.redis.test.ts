import { type RedisServer, redisServer } from '@weft/testing';
import { afterAll, beforeAll } from 'vitest';
import { sweepSuite } from './sweep-suite.js';

let redis: RedisServer;
beforeAll(async () => {
  redis = await redisServer();
});
afterAll(() => redis.remove());

sweepSuite('Redis', () => redis.url);
