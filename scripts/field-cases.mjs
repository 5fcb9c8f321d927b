// `node scripts/field-cases.mjs [folder]`: indexes every case of `../shared/field-cases/out` with the command line and
// compares with what is right. The long text of `tokenizer-unigram-long-text` is written by `make_cases.py` of that folder.

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { checkFieldCase, FIELD_CASES } from './lib/field-cases.mjs';
import { ROOT } from './lib/root.mjs';

const folder = resolve(process.argv[2] ?? join(ROOT, '../shared/field-cases/out'));
let failed = 0;
for (const row of FIELD_CASES) {
  const title = [row.name, ...(row.settings ?? [])].join(' ');
  if (!existsSync(join(folder, row.name, row.name === 'path-with-hash' ? 'a #b' : row.source))) {
    console.log(`absent  ${title}`);
    continue;
  }
  const problem = await checkFieldCase(folder, row);
  console.log(problem === undefined ? `right   ${title}` : `WRONG   ${title}: ${problem}`);
  if (problem !== undefined) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
