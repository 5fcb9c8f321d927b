import { didYouMean, WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { debugNano } from './debug-nano.js';
import { debugTiny } from './debug-tiny.js';
import { aim1b, aim3b, aim600m, aimTiny, clipTiny, clipVitH14, clipVitL14 } from './encoders.js';
import { mm1_1b, mm1_3b, mm1_7b, mm1_30b } from './mm1.js';
import { mm1_3bMoe64e, mm1_7bMoe32e } from './mm1-moe.js';
import { mm1Sft, mm1TinySft } from './mm1-sft.js';
import { mm1Tiny } from './mm1-tiny.js';
import { moeTiny } from './moe-tiny.js';
import type { EncoderConfig, WholeConfig } from './whole-config.js';

/** Every named run, in the order people should meet them. */
export const recipes: Readonly<Record<string, () => WholeConfig | EncoderConfig>> = {
  debugTiny,
  debugNano,
  moeTiny,
  mm1Tiny,
  'clip-tiny': clipTiny,
  'aim-tiny': aimTiny,
  'mm1-1b': mm1_1b,
  'mm1-3b': mm1_3b,
  'mm1-7b': mm1_7b,
  'mm1-30b': mm1_30b,
  'mm1-3b-moe-64e': mm1_3bMoe64e,
  'mm1-7b-moe-32e': mm1_7bMoe32e,
  'mm1-tiny-sft': mm1TinySft,
  'mm1-sft': mm1Sft,
  'clip-vit-l-14-336': clipVitL14,
  'clip-vit-h-14-378': clipVitH14,
  'aim-600m': aim600m,
  'aim-1b': aim1b,
  'aim-3b': aim3b,
};

/**
 * A named run as its author wrote it: the lowest layer of a configuration.
 *
 * @throws WeftError `not_found` whose hint is the name probably meant and the others.
 */
export function recipeInput(name: string): WholeConfig | EncoderConfig {
  const write = Object.hasOwn(recipes, name) ? recipes[name] : undefined;
  if (write !== undefined) return write();
  const names = Object.keys(recipes);
  const meant = didYouMean(name, names);
  const others = names.filter((other) => other !== meant).join(', ');
  throw new WeftError('not_found', `there is no recipe ${JSON.stringify(name)}`, {
    hint: meant === undefined ? `choose one of ${others}` : `write ${meant}, or choose another of ${others}`,
  });
}

/** A named run, resolved. Errors as `recipeInput`. */
export function recipe(name: string): RunConfig {
  return resolveRunConfig(recipeInput(name), `recipe ${name}`);
}
