import { WeftError } from '@weft/common';
import { isScalar, parseDocument } from 'yaml';
import { dotted, type FieldPath, fieldsOf, isOpenGroup, mayBeNull, takesValue, unknownField } from './fields.js';
import { type ConfigLayer, merge, mergeLayers, namesSources } from './layers.js';

/**
 * Writes settings of the command line, `optimizer.learningRate=3e-4`, over a configuration.
 * The value is read as YAML reads a single value: `3` is a number, `true` a boolean, `"3"` and `bytes` are texts. A path
 * is taken as it stands.
 * `data.weights=4:4:1` sets the weights of all sources, in their order; `null` takes a group away that a run may do without.
 *
 * @throws WeftError `invalid_argument` for a setting without `=`, an unknown field (with what was probably meant),
 * a group, or a value that is not a single one.
 */
export function applySettings(input: unknown, settings: readonly string[]): unknown {
  return mergeLayers([{ value: input }, ...settingLayers(settings)]);
}

/** What may change in a run that has begun: how it is computed and kept, and what becomes of it when it diverges. */
const RESUME_GROUPS = ['engine', 'checkpoint', 'divergence'] as const;

/**
 * Writes settings over the configuration of a run that has begun.
 *
 * @throws WeftError `invalid_argument` for a field of another group than `RESUME_GROUPS`, for one of `data` that would change what
 * the numbers of consumed sequences mean, and as `applySettings`.
 */
export function applyResumeSettings(input: unknown, settings: readonly string[]): unknown {
  const isAllowed = (setting: string) => RESUME_GROUPS.some((group) => setting.startsWith(`${group}.`));
  const other = settings.find((setting) => !isAllowed(setting) && !RESUME_DATA.test(setting));
  if (other?.startsWith('data.')) throw refusal('--set', dataRefusal(other));
  if (other === undefined) return applySettings(input, settings);
  throw refusal(
    '--set',
    `a run that is resumed changes fields of ${RESUME_GROUPS.join(', ')} and some of data only, and ${JSON.stringify(other)} is none`,
  );
}

/** Of the data: how much of each source is read from now on, up to which version of the index, where the files lie, and how they come. */
const RESUME_DATA =
  /^data\.(weights|weights\.[^.=]+|indexVersion|prefetchSteps|directory|index|remote\.[^.=]+|datasets\.[^.=]+\.(directory|epochs))\s*=/;

function dataRefusal(setting: string): string {
  const field = setting.split('=', 1)[0]!.trim();
  const planned = field === 'data.mixtureChanges' || field === 'data.skippedBatches';
  const why = planned
    ? 'it is kept by the run itself: see `weft data reweight`'
    : 'with another value the sequences that it has consumed would have other numbers or hold something else, and some would be repeated or left out: begin a new run for that';
  return `${field} of a run that has begun stays as it is: ${why}`;
}

/** One layer per setting, to be put on top of the others; `option` is how a person wrote it. */
export function settingLayers(settings: readonly string[], option = '--set'): ConfigLayer[] {
  const layers = settings.map((setting): ConfigLayer => {
    const equals = setting.indexOf('=');
    const path = setting.slice(0, Math.max(equals, 0)).trim().split('.');
    if (equals < 1 || path.includes('')) {
      throw refusal(
        option,
        `${JSON.stringify(setting)} must look like field=value, for instance optimizer.learningRate=3e-4`,
      );
    }
    checkField(path, setting.slice(equals + 1), option);
    const value = scalar(setting, path, setting.slice(equals + 1), option);
    return { value: path.reduceRight<unknown>((inner, name) => ({ [name]: inner }), value), where: () => option };
  });
  return joinSources(layers);
}

/** A layer that names sources begins the mixture anew, so all sources that settings name go into one layer, the first. */
function joinSources(layers: readonly ConfigLayer[]): ConfigLayer[] {
  const [first, ...others] = layers.filter(namesSources);
  if (first === undefined) return [...layers];
  const value = others.reduce<unknown>((joined, layer) => merge(joined, layer.value), first.value);
  return [{ ...first, value }, ...layers.filter((layer) => !namesSources(layer))];
}

function checkField(path: FieldPath, value: string, option: string): void {
  if (isOpenGroup(path.slice(0, -1))) return;
  const parent = fieldsOf(path.slice(0, -1));
  if (parent === undefined || !parent.includes(path.at(-1) ?? '')) throw refusal(option, firstUnknown(path));
  const fields = fieldsOf(path);
  if (value.trim() === 'null' && mayBeNull(path)) return;
  if (fields !== undefined && takesValue(path, value.trim())) return;
  if (fields === undefined || (dotted(path) === 'data.weights' && value.includes(':'))) return;
  if (dotted(path) === 'evaluation.tasks' && value.trim() === 'demo') return;
  const name = dotted(path);
  throw refusal(
    option,
    fields.length === 0
      ? `${name} is a group, set a field of it, such as ${name}.<name>`
      : `${name} is a group, set one of its fields: ${fields.join(', ')}`,
  );
}

/** Blames the first name of the path that does not exist. */
function firstUnknown(path: FieldPath): string {
  for (let length = 1; length <= path.length; length++) {
    const parent = fieldsOf(path.slice(0, length - 1));
    if (parent === undefined) {
      const field = dotted(path.slice(0, length - 1));
      return `unknown field ${JSON.stringify(dotted(path))}, ${field} is a single value`;
    }
    if (isOpenGroup(path.slice(0, length - 1))) continue;
    if (!parent.includes(path[length - 1] ?? '')) return unknownField(path.slice(0, length));
  }
  return unknownField(path);
}

/**
 * The value of a setting, as YAML reads it. Where a field takes any text, what YAML would take for a comment or a list
 * belongs to the text: `data.directory=/data/a #b`.
 */
function scalar(setting: string, path: FieldPath, text: string, option: string): unknown {
  const document = parseDocument(text, { logLevel: 'silent', prettyErrors: false });
  const { contents } = document;
  const asItStands = text.trim();
  const takesText = asItStands !== '' && takesValue(path, asItStands);
  if (document.errors.length === 0 && isScalar(contents) && (contents.value !== null || mayBeNull(path))) {
    const isQuoted = contents.type?.startsWith('QUOTE') === true;
    const isWhole = isQuoted || (typeof contents.value !== 'string' && !asItStands.includes('#'));
    // A folder may be named 2024, or true.
    const isText = takesText && !(isWhole && takesValue(path, contents.value));
    return isText ? asItStands : contents.value;
  }
  if (takesText) return asItStands;
  throw refusal(option, `${JSON.stringify(setting)} must give a single value after the equals sign`);
}

const refusal = (option: string, sentence: string) => new WeftError('invalid_argument', `${option}: ${sentence}`);
