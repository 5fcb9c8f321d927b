import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Precision } from '@weft/config';
import type { BenchCase } from './plan.js';

/** The products that ours timed in a case, and those of them that took another form than the usual one. */
export interface ChosenForms {
  readonly timed: number;
  readonly others: readonly {
    /** `float32 (2048x512)T 2048x1408` */
    readonly product: string;
    readonly form: string;
    /** How much faster than the usual form. */
    readonly speedup: number;
  }[];
}

/** What TensorFlow's engine keeps, see `FormChooser`. */
interface FormsFile {
  readonly key: { readonly threads: number };
  readonly forms: Readonly<Record<string, { readonly form: string; readonly speedup: number }>>;
}

const DTYPE = { fp32: 'float32', bf16: 'bfloat16' } as const satisfies Record<Precision, string>;

/** Reads what the processes of a case kept in their folder. */
export async function readChosenForms(directory: string, { threads, precision }: BenchCase): Promise<ChosenForms> {
  const names = await readdir(directory).catch(() => []);
  const files = await Promise.all(
    names
      .filter((name) => name.endsWith('.json'))
      .map(async (name): Promise<FormsFile> => JSON.parse(await readFile(join(directory, name), 'utf8'))),
  );
  const timed = files
    .filter(({ key }) => key.threads === threads)
    .flatMap(({ forms }) => Object.entries(forms))
    .filter(([product]) => product.startsWith(`${DTYPE[precision]} `));
  const others = timed.filter(([, { form }]) => form !== 'batch');
  return {
    timed: timed.length,
    others: others.map(([product, chosen]) => ({ product, ...chosen })).toSorted((a, b) => b.speedup - a.speedup),
  };
}
