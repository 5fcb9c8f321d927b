import { temporaryDirectory } from '@weft/testing';
import { queueSuite } from './testing/queue-suite.js';

queueSuite('files', async () => {
  const home = await temporaryDirectory();
  return { home: home.path, store: {}, [Symbol.asyncDispose]: () => home.remove() };
});
