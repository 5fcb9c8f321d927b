import { BESIDE_PRE_TRAINING } from './mm1-beside.mjs';
import { EVIDENCE } from './mm1-fact.mjs';
import { PRE_TRAINING } from './mm1-pre-training.mjs';

/** All numbers, in the order of the page. */
export const SECTIONS = [...PRE_TRAINING, ...BESIDE_PRE_TRAINING];

/** @typedef {import('./mm1-fact.mjs').Fact} Fact */
/** @typedef {(name: string) => object} ReadRecipe */

const INTRODUCTION = `# MM1 beside Weft

Every number of the recipe of MM1 (arXiv 2403.09611), where it stands in Weft, and what tests it. This page is made of the recipes by
\`npm run mm1-doc\`; a test keeps it in step. The paper published neither code nor weights, so much is not known: such numbers stay
settings, and none of them is given out as the paper's.

| evidence | meaning |
|---|---|
| paper | the paper, quoted or told alike by several sources |
| one source | told by one source |
| recalled | known from memory, and found in no source that could be read |
| framework | the default of AXLearn, the framework the models were trained with |
| proxy | the shape of a public model of the same size, or of a public implementation of the same part |
| ours | Weft's choice, where the paper tells nothing |
| differs | what Weft has by default is not the paper's number |
`;

/**
 * The page, out of the recipes.
 *
 * @param {ReadRecipe} recipe
 * @param {readonly string[]} names of the recipes that are there; facts of others are left out
 */
export function mm1Page(recipe, names) {
  const sections = SECTIONS.flatMap(({ title, text, facts }) => {
    const rows = facts.flatMap((fact) => rowOf(fact, recipe, names));
    if (rows.length === 0) return [];
    const table = ['| | paper | evidence | Weft | where | test |', '|---|---|---|---|---|---|', ...rows];
    return [`## ${title}\n\n${text === undefined ? '' : `${text}\n\n`}${table.join('\n')}\n`];
  });
  return `${[INTRODUCTION, ...sections].join('\n')}`;
}

/**
 * @param {Fact} fact
 * @param {ReadRecipe} recipe
 * @param {readonly string[]} names
 * @returns {string[]}
 */
function rowOf(fact, recipe, names) {
  const { what, paper, evidence, test } = fact;
  const [weft, where] =
    fact.recipes === undefined ? [fact.weft, pathOrWords(fact.where ?? '')] : recipeCells(fact, recipe, names);
  if (weft === undefined) return [];
  return [`| ${what} | ${paper} | ${evidence} | ${weft} | ${where} | ${pathOrWords(test)} |`];
}

/**
 * @param {Fact} fact
 * @param {ReadRecipe} recipe
 * @param {readonly string[]} names
 * @returns {(string | undefined)[]}
 */
function recipeCells({ recipes = [], field = [] }, recipe, names) {
  if (!recipes.every((name) => names.includes(name))) return [];
  const values = recipes.map((name) => shown(recipe(name), field));
  const isOne = values.every((value) => value === values[0]);
  const fields = [field].flat().map((each) => `\`${each}\``);
  return [isOne ? values[0] : values.join(', '), `${fields.join(', ')} of ${recipes.join(', ')}`];
}

/**
 * The facts whose recipes say something else, one sentence each; empty when all is in step.
 *
 * @param {ReadRecipe} recipe
 * @param {readonly string[]} names of the recipes that are there
 * @returns {string[]}
 */
export function wrongFacts(recipe, names) {
  return SECTIONS.flatMap(({ title, facts }) =>
    facts.flatMap(({ what, evidence, recipes = [], field = [], value }) => {
      if (!EVIDENCE.includes(evidence)) return [`${title}, ${what}: there is no evidence ${evidence}`];
      if (!recipes.every((name) => names.includes(name))) return [];
      return recipes.flatMap((name, i) => {
        const expected = text(Array.isArray(value) ? value[i] : value);
        const found = shown(recipe(name), field);
        return found === expected ? [] : [`${title}, ${what}: ${field} of ${name} is ${found}, not ${expected}`];
      });
    }),
  );
}

/**
 * @param {object} config
 * @param {string | string[]} field
 */
function shown(config, field) {
  return [field]
    .flat()
    .map((path) => text(path.split('.').reduce((value, name) => value?.[name], /** @type {any} */ (config))))
    .join(', ');
}

/**
 * @param {unknown} value
 * @returns {string}
 */
function text(value) {
  if (typeof value === 'number') return value >= 1000 ? value.toLocaleString('en-US') : small(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value !== 'object' || value === null) return String(value);
  const numbers = Object.values(value);
  return numbers.length === 0 ? '{}' : numbers.join(':');
}

const small = (/** @type {number} */ value) =>
  value !== 0 && value < 1e-3 ? String(Number(value.toPrecision(6)).toExponential()) : String(value);

const pathOrWords = (/** @type {string} */ where) =>
  /^(packages|apps|e2e|scripts)\//.test(where) ? `\`${where}\`` : where;
