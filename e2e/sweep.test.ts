import { sweepSuite } from './sweep-suite.js';

sweepSuite('files');
