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
  // At this level the parser reports a second document; it prints nothing.
  const document = parseDocument(text, { lineCounter: lines, logLevel: 'error', prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line } = lines.linePos(error.pos[0]);
    if (error.code === 'MULTIPLE_DOCS')
      throw new WeftError('invalid_argument', `${name}:${line}: a second document begins, but a file holds one only`, {
        hint: 'put it into a file of its own',
      });
    if (error.code === 'RESOURCE_EXHAUSTION') throw tooDeep(name);
    throw new WeftError('invalid_argument', `${name}:${line}: not valid YAML: ${firstLine(error.message)}`);
  }
  const value: unknown = toJs(document, name);
  if (!isJsonObject(value)) {
    throw new WeftError('invalid_argument', `${name} must hold fields such as "steps: 60", but holds ${kindOf(value)}`);
  }
  return { value, where: (path) => `${name}:${lines.linePos(offsetOf(document, path)).line}` };
}

/** Thousands of times a whole configuration. */
const MOST_BYTES = 1024 * 1024;

async function readConfigText(path: string, store: BlobStore): Promise<string> {
  try {
    if ((await store.size(path)) > MOST_BYTES) throw tooLarge(path);
    const text = await readText(store, path);
    // A pipe has no size before it is read.
    if (text.length > MOST_BYTES) throw tooLarge(path);
    return text;
  } catch (cause) {
    if (WeftError.is(cause, 'not_found'))
      throw new WeftError('not_found', `there is no configuration file ${path}`, { cause });
    if (WeftError.is(cause, 'invalid_argument'))
      throw new WeftError('invalid_argument', `${path} is a folder, not a configuration file`, { cause });
    throw cause;
  }
}

const tooDeep = (name: string) =>
  new WeftError('invalid_argument', `${name} is nested too deeply to be a configuration`);

const tooLarge = (path: string) =>
  new WeftError('failed_precondition', `${path} is larger than 1 MiB, which no configuration is`);

function toJs(document: Document, name: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    if (cause instanceof RangeError) throw tooDeep(name);
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
