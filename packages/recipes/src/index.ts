export { recipe, recipeInput, recipes } from './recipes.js';
