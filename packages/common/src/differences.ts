/** A field in which not all configurations agree. */
export interface Difference {
  /** Its path, as `--set` writes it: `optimizer.learningRate`. */
  readonly name: string;
  /** As JSON, of each configuration; undefined where one lacks the field. */
  readonly values: readonly (string | undefined)[];
}

/** The fields in which not all configurations agree, in the order in which they first appear. */
export function differences(configs: readonly unknown[]): Difference[] {
  const flat = configs.map((config) => flattened(config));
  const names = [...new Set(flat.flatMap((each) => [...each.keys()]))];
  return names
    .map((name) => ({ name, values: flat.map((each) => each.get(name)) }))
    .filter(({ values }) => new Set(values).size > 1);
}

/** The values of a configuration, as JSON, by their paths, as `--set` writes them. A list is one value. */
export function flattened(value: unknown, path = '', into = new Map<string, string>()): Map<string, string> {
  const isObject =
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
  if (!isObject) return into.set(path, JSON.stringify(value));
  for (const [name, inner] of Object.entries(value)) flattened(inner, path === '' ? name : `${path}.${name}`, into);
  return into;
}
