import { queueSuite } from './queue-suite.js';

queueSuite('files', async () => '');
