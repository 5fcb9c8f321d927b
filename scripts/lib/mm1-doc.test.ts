import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { recipe, recipes } from '@weft/recipes';
import { describe, expect, it } from 'vitest';
import { mm1Page, SECTIONS, wrongFacts } from './mm1-doc.mjs';
import { ROOT } from './root.mjs';

const names = Object.keys(recipes);

describe('docs/mm1.md', () => {
  it('is in step with the recipes; npm run mm1-doc writes it', () => {
    expect(readFileSync(join(ROOT, 'docs/mm1.md'), 'utf8')).toBe(mm1Page(recipe, names));
  });

  it('has the numbers that the recipes have, and names tests that exist', () => {
    expect(wrongFacts(recipe, names)).toEqual([]);
    for (const { test, where = '' } of SECTIONS.flatMap(({ facts }) => facts))
      for (const path of [test, where].filter((each) => /^(packages|apps|e2e|scripts)\//.test(each)))
        expect(existsSync(join(ROOT, path)), path).toBe(true);
  });

  it('notices a recipe that changed, and leaves out recipes that are not there', () => {
    const changed = (name: string) => ({ ...recipe(name), steps: 1 });
    expect(wrongFacts(changed, names)).toContain('Pre-training, steps: steps of mm1-3b is 1, not 200,000');
    expect(mm1Page(recipe, ['mm1-1b'])).not.toContain('200,000');
  });
});
