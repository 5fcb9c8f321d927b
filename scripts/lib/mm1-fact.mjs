// A number of MM1, and how well it is known.

const RECIPES_TEST = 'packages/recipes/src/recipes.test.ts';

/**
 * How well a number is known:
 *
 *   paper      the paper, quoted or told alike by several sources
 *   one source told by one source
 *   recalled   found in no source that could be read
 *   framework  the default of AXLearn, the framework the models were trained with
 *   proxy      the shape of a public model of the same size, or a public implementation of the same part
 *   ours       Weft's choice: the paper tells nothing
 *   differs    the paper says otherwise, and the reason is beside it
 */
export const EVIDENCE = ['paper', 'one source', 'recalled', 'framework', 'proxy', 'ours', 'differs'];

/**
 * A number: what it is, what the paper says ('–': nothing), how well that is known, and what tests it. It stands in a field
 * (or several) of recipes, whose `value` is that of every recipe or a list of one for each; or it stands elsewhere.
 *
 * @typedef {{
 *   what: string; paper: string; evidence: string; test: string;
 *   recipes?: string[]; field?: string | string[]; value?: unknown;
 *   where?: string; weft?: string;
 * }} Fact
 */

/**
 * A number that recipes hold.
 *
 * @type {(what: string, paper: string, evidence: string, recipes: string[], field: string | string[], value: unknown, test?: string) => Fact}
 */
export const fact = (what, paper, evidence, recipes, field, value, test = RECIPES_TEST) => ({
  ...{ what, paper, evidence, recipes, field, value, test },
});
/**
 * A number that no recipe holds: where it stands, and what it is there.
 *
 * @type {(what: string, paper: string, evidence: string, where: string, weft: string, test: string) => Fact}
 */
export const elsewhere = (what, paper, evidence, where, weft, test) => ({ what, paper, evidence, where, weft, test });

/** @typedef {{ title: string; text?: string; facts: Fact[] }} Section */
