import { DEFAULT_SOURCES, didYouMean } from '@weft/common';
import { z } from 'zod';
import { runConfigSchema } from './schema.js';

/** A field's place in a configuration: `['model', 'decoder', 'width']`. */
export type FieldPath = readonly string[];

export const dotted = (path: FieldPath) => path.join('.');

/** The names a group allows, or undefined when the path names a single value or nothing. */
export function fieldsOf(path: FieldPath): readonly string[] | undefined {
  const schema = unwrap(schemaOf(path));
  if (schema instanceof z.ZodRecord) return path[0] === 'data' ? DEFAULT_SOURCES : [];
  if (schema instanceof z.ZodDiscriminatedUnion) return [...new Set(kindsOf(schema).flatMap(Object.keys))];
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : undefined;
}

/** Whether a group takes any name, as the sources of a mixture do. */
export function isOpenGroup(path: FieldPath): boolean {
  return unwrap(schemaOf(path)) instanceof z.ZodRecord;
}

/** Whether a field takes this value; one that may be a group may take a word too, as `engine.mesh` takes `auto`. */
export function takesValue(path: FieldPath, value: unknown): boolean {
  const schema = schemaOf(path);
  return schema instanceof z.ZodType && schema.safeParse(value).success;
}

/** Whether a field may be null, which stands for "there is none". */
export function mayBeNull(path: FieldPath): boolean {
  return takesValue(path, null);
}

function schemaOf(path: FieldPath): unknown {
  let schema: unknown = runConfigSchema;
  for (const name of path) {
    const group = unwrap(schema);
    if (group instanceof z.ZodRecord) schema = group.valueType;
    else if (group instanceof z.ZodDiscriminatedUnion) schema = fieldOfKinds(group, name);
    else schema = group instanceof z.ZodObject && Object.hasOwn(group.shape, name) ? group.shape[name] : undefined;
  }
  return schema;
}

/** The fields of every kind of a group that comes in several. */
function kindsOf(union: z.ZodDiscriminatedUnion): readonly z.core.$ZodLooseShape[] {
  return union.options.flatMap((kind) => (kind instanceof z.ZodObject ? [kind.shape] : []));
}

/** A field of any of the kinds: which of them a group is may be written elsewhere. */
function fieldOfKinds(union: z.ZodDiscriminatedUnion, name: string): unknown {
  const schemas = kindsOf(union).flatMap((kind) => (Object.hasOwn(kind, name) ? [kind[name]] : []));
  return schemas.length < 2 ? schemas[0] : z.union(schemas);
}

/** The group itself, where it may be left out or be one word instead. */
function unwrap(schema: unknown): unknown {
  if (schema instanceof z.ZodDiscriminatedUnion) return schema;
  if (schema instanceof z.ZodUnion) return schema.options.find((option) => option instanceof z.ZodObject);
  const isWrapped =
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable;
  return isWrapped ? unwrap(schema.unwrap()) : schema;
}

/**
 * Says that a field does not exist and what was probably meant: a neighbour with a similar name,
 * else a field of any group with a similar name, else the list of what the group allows.
 */
export function unknownField(path: FieldPath): string {
  const unknown = `unknown field ${JSON.stringify(dotted(path))}`;
  const parent = path.slice(0, -1);
  const name = path.at(-1) ?? '';
  const neighbours = fieldsOf(parent) ?? [];
  // Of a group that comes in several kinds, the neighbours are those of all kinds.
  if (neighbours.includes(name)) return `${dotted(path)} is no field of this ${dotted(parent)}.kind`;
  const neighbour = didYouMean(name, neighbours);
  if (neighbour !== undefined) return `${unknown}, did you mean ${dotted([...parent, neighbour])}?`;
  const elsewhere = new Map([...everyField()].map((field) => [field.at(-1) ?? '', field]));
  const similar = elsewhere.get(didYouMean(name, elsewhere.keys()) ?? '');
  if (similar !== undefined) return `${unknown}, did you mean ${dotted(similar)}?`;
  return `${unknown}, ${parent.length === 0 ? 'a run' : dotted(parent)} has ${neighbours.join(', ')}`;
}

function* everyField(path: FieldPath = []): Iterable<FieldPath> {
  const names = fieldsOf(path);
  if (path.length > 0) yield path;
  for (const name of names ?? []) yield* everyField([...path, name]);
}
