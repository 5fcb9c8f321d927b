import { isJsonObject, WeftError } from '@weft/common';
import { type BlobStore, diskStore, readText } from '@weft/files';
import { type Document, isMap, isNode, isScalar, LineCounter, type Pair, parseDocument } from 'yaml';
import type { FieldPath } from './fields.js';
import type { ConfigLayer } from './layers.js';

/**
 * Reads a YAML or JSON file that holds any part of a `RunConfigInput`, as a layer for `resolveLayers` that knows the line
 * of every field. The fields are not yet checked.
 *
 * @throws WeftError `not_found` when there is no such file, `invalid_argument` with file and line when it is not YAML.
 */
export async function fileLayer(path: string, store: BlobStore = diskStore): Promise<ConfigLayer> {
  return parseConfigText(await readConfigText(path, store), path);
}

/** The layer of a text that is YAML or JSON; `name` is the file named in errors. */
export function parseConfigText(text: string, name: string): ConfigLayer {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, logLevel: 'silent', prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line } = lines.linePos(error.pos[0]);
    throw new WeftError('invalid_argument', `${name}:${line}: not valid YAML: ${firstLine(error.message)}`);
  }
  const value: unknown = toJs(document, name);
  if (!isJsonObject(value)) {
    throw new WeftError('invalid_argument', `${name} must hold fields such as "steps: 60", but holds ${kindOf(value)}`);
  }
  return { value, where: (path) => `${name}:${lines.linePos(offsetOf(document, path)).line}` };
}

async function readConfigText(path: string, store: BlobStore): Promise<string> {
  try {
    return await readText(store, path);
  } catch (cause) {
    if (WeftError.is(cause, 'not_found'))
      throw new WeftError('not_found', `there is no configuration file ${path}`, { cause });
    if (WeftError.is(cause, 'invalid_argument'))
      throw new WeftError('invalid_argument', `${path} is a folder, not a configuration file`, { cause });
    throw cause;
  }
}

function toJs(document: Document, name: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    throw new WeftError('invalid_argument', `${name}: not valid YAML: ${firstLine(WeftError.from(cause).message)}`, {
      cause,
    });
  }
}

/** Where the key of a field stands, or the key of the innermost group on the way to it that was written. */
function offsetOf(document: Document, path: FieldPath): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const name of path) {
    const pair: Pair | undefined = isMap(node)
      ? node.items.find(({ key }) => isScalar(key) && String(key.value) === name)
      : undefined;
    if (pair === undefined) break;
    if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
    node = pair.value;
  }
  return offset;
}

const firstLine = (text: string) => text.split('\n', 1)[0] ?? text;

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : `a single ${typeof value}`;
}
