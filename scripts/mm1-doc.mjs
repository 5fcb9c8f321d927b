// `npm run mm1-doc`: writes docs/mm1.md out of the recipes.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mm1Page, wrongFacts } from './lib/mm1-doc.mjs';
import { ROOT } from './lib/root.mjs';

const { recipe, recipes } = await import('../packages/recipes/dist/index.js');
const names = Object.keys(recipes);
const wrong = wrongFacts(recipe, names);
for (const sentence of wrong) console.error(sentence);
if (wrong.length > 0) process.exit(1);
writeFileSync(join(ROOT, 'docs/mm1.md'), mm1Page(recipe, names));
console.log('docs/mm1.md is written');
