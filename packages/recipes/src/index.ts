export { recipe, recipeInput, recipes } from './recipes.js';
export type { WholeConfig } from './whole-config.js';
