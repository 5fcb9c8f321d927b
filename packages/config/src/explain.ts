import type { z } from 'zod';
import { dotted, type FieldPath, unknownField } from './fields.js';
import { isGroup } from './layers.js';
import type { Problem } from './problem.js';

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
      add(problems, path, `${field} is ${quoted(given)}, but must be ${issue.message}`);
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
  return isGroup(value) && Object.hasOwn(value, name) ? value[name] : undefined;
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
