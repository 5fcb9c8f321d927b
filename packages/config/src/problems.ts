import { isJsonObject, WeftError } from '@weft/common';
import type { z } from 'zod';
import { dotted, type FieldPath, unknownField } from './fields.js';
import type { ConfigLayer } from './layers.js';

/** One thing wrong with a configuration. */
export interface Problem {
  /** The field to blame first, then the others that take part in the rule. */
  readonly fields: readonly FieldPath[];
  /** One clear sentence without a full stop: field, value given, what is allowed. */
  readonly sentence: string;
}

/** A problem of fields, as people write their names, the one to blame first. */
export function problem(fields: readonly string[], sentence: string): Problem {
  return { fields: fields.map((field): FieldPath => field.split('.')), sentence };
}

/** The problem of a number that does not divide another one, if it does not. */
export function* divides(field: string, value: number, wholeField: string, whole: number): Generator<Problem> {
  if (whole % value !== 0) {
    yield problem([field, wholeField], `${field} is ${value}, but must divide ${wholeField} (${whole})`);
  }
}

/**
 * One `invalid_argument` for all problems, each with the place where it was written: a single one is the message itself,
 * several are listed line by line.
 */
export function problemsError(problems: readonly Problem[], layers: readonly ConfigLayer[]): WeftError {
  const sentences = problems.map((problem) => {
    const where = whereIs(problem, layers);
    return where === undefined ? problem.sentence : `${where}: ${problem.sentence}`;
  });
  const [only] = sentences;
  if (sentences.length === 1 && only !== undefined) return new WeftError('invalid_argument', only);
  const list = sentences.map((sentence) => `\n  - ${sentence}`).join('');
  return new WeftError('invalid_argument', `the configuration has ${sentences.length} problems:${list}`);
}

/**
 * Where to look for the cause of a problem: the topmost layer that wrote one of its fields.
 * When none did, because the field is missing, the layer that wrote most of the way to it.
 */
function whereIs(problem: Problem, layers: readonly ConfigLayer[]): string | undefined {
  let best: { readonly where: string | undefined; readonly depth: number } = { where: undefined, depth: -1 };
  for (const layer of layers) {
    for (const field of problem.fields) {
      const depth =
        depthOf(layer.value, field) === field.length ? Number.POSITIVE_INFINITY : depthOf(layer.value, field);
      if (depth >= best.depth) best = { where: layer.where?.(field), depth };
    }
  }
  return best.where;
}

/** How many names of the path a layer holds. */
function depthOf(value: unknown, path: FieldPath): number {
  let depth = 0;
  for (let inner = value; depth < path.length; depth++) {
    const name = path[depth] ?? '';
    if (!isJsonObject(inner) || !Object.hasOwn(inner, name)) break;
    inner = inner[name];
  }
  return depth;
}

/** Turns what the schema found into sentences; `input` is what was parsed, to quote the values given. */
export function explainIssues(issues: readonly z.core.$ZodIssue[], input: unknown): Problem[] {
  const problems = new Map<string, Problem>();
  const missing = new Map<string, { group: FieldPath; fields: FieldPath[] }>();
  for (const issue of issues) {
    const path = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) add(problems, [...path, key], unknownField([...path, key]));
      continue;
    }
    const given = valueAt(input, path);
    const group = given === undefined ? outermostMissing(input, path) : path;
    if (group.length < path.length) {
      const known = missing.get(dotted(group)) ?? { group, fields: [] };
      missing.set(dotted(group), { group, fields: [...known.fields, path.slice(group.length)] });
    } else if (given === undefined) {
      add(problems, path, `${dotted(path)} is missing: it must be ${issue.message}`);
    } else {
      const field = path.length === 0 ? 'the configuration' : dotted(path);
      const mayBeSecret = issue.code === 'custom' && issue.params?.mayBeSecret === true;
      const is = mayBeSecret ? 'may hold a secret' : `is ${quoted(given)}`;
      add(problems, path, `${field} ${is}, but must be ${issue.message}`);
    }
  }
  for (const { group, fields } of missing.values()) {
    add(problems, group, `${dotted(group)} is missing: it needs ${fields.map(dotted).join(', ')}`);
  }
  return [...problems.values()];
}

/** The first sentence about a field is enough: later ones repeat it. */
function add(problems: Map<string, Problem>, path: FieldPath, sentence: string): void {
  if (!problems.has(dotted(path))) problems.set(dotted(path), { fields: [path], sentence });
}

function valueAt(input: unknown, path: FieldPath): unknown {
  let value = input;
  for (const name of path) value = inside(value, name);
  return value;
}

function inside(value: unknown, name: string): unknown {
  if (Array.isArray(value)) return value[Number(name)];
  return isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

function outermostMissing(input: unknown, path: FieldPath): FieldPath {
  const length = path.findIndex((_, index) => valueAt(input, path.slice(0, index + 1)) === undefined) + 1;
  return path.slice(0, length);
}

const LONGEST_QUOTE = 60;

function quoted(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length <= LONGEST_QUOTE ? text : `${text.slice(0, LONGEST_QUOTE)}…`;
}
