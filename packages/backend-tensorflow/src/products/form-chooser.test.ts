import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Product, type ProductForm, productName, recordProducts } from '@weft/tensor';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FormChooser, formsKey, type ProductTimer, productFormsDirectory } from './form-chooser.js';

const square = (side: number): Product => ({
  dtype: 'float32',
  left: [side, side],
  right: [side, side],
  isLeftTransposed: false,
  isRightTransposed: false,
});
const phaseOf = (product: Product) => recordProducts(product, 'only', 2);
const [small, large, tiny] = [square(256), square(512), square(16)];

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'weft-forms-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const key = formsKey('2.21.0', 1);

function chooser({
  form = 'matrix',
  expectedMs = 1,
  timed = [] as string[],
  ...others
}: {
  form?: ProductForm;
  expectedMs?: number;
  timed?: string[];
  directory?: string;
  key?: typeof key;
  budgetMs?: number;
}) {
  const timer: ProductTimer = {
    expectedMs: () => expectedMs,
    fastest: async (product) => {
      timed.push(productName(product));
      return { form, speedup: 1 };
    },
    dispose: () => {},
  };
  return new FormChooser({ key, directory: join(home, 'forms'), openTimer: () => timer, ...others });
}

describe('the forms of products', () => {
  it('are timed once and kept: a later start takes them whatever it would find', async () => {
    const timed: string[] = [];
    expect((await chooser({ timed }).formsOf(phaseOf(large))).get(productName(large))).toBe('matrix');
    expect((await chooser({ timed, form: 'batch' }).formsOf(phaseOf(large))).get(productName(large))).toBe('matrix');
    expect(timed).toEqual([productName(large)]);
  });

  it('are added to those that are kept', async () => {
    await chooser({}).formsOf(phaseOf(large));
    const forms = await chooser({ form: 'batch' }).formsOf(phaseOf(small));
    expect(Object.fromEntries(forms)).toEqual({ [productName(large)]: 'matrix', [productName(small)]: 'batch' });
  });

  it('of products that take a tenth of a millisecond are not timed', async () => {
    const timed: string[] = [];
    expect(await chooser({ timed }).formsOf(phaseOf(tiny))).toEqual(new Map());
    expect([timed, await readdir(home)]).toEqual([[], []]);
  });

  it('stay as they are usually, also later, where there was no time to try others', async () => {
    const timed: string[] = [];
    const late = chooser({ timed, expectedMs: 50, budgetMs: 10 });
    expect((await late.formsOf(phaseOf(large))).get(productName(large))).toBe('batch');
    expect((await chooser({ timed }).formsOf(phaseOf(large))).get(productName(large))).toBe('batch');
    expect(timed).toEqual([]);
  });

  it('are those of one processor, library and number of threads', async () => {
    await chooser({}).formsOf(phaseOf(large));
    const timed: string[] = [];
    await chooser({ timed, key: { ...key, threads: 2 } }).formsOf(phaseOf(large));
    await chooser({ timed, key: { ...key, instructions: ['AVX'] } }).formsOf(phaseOf(large));
    expect(timed).toHaveLength(2);
  });

  it.each([
    ['half a file', (text: string) => text.slice(0, text.length / 2)],
    ['a file of another processor', (text: string) => text.replace('2.21.0', '2.20.0')],
    ['a form that there is not', (text: string) => text.replace('"matrix"', '"fast"')],
    ['a form that the product does not have', (text: string) => text.replace('"matrix"', '"transposed"')],
  ])('are timed again where there is %s', async (_, spoil) => {
    await chooser({}).formsOf(phaseOf(large));
    const [name = ''] = await readdir(join(home, 'forms'));
    const path = join(home, 'forms', name);
    await writeFile(path, spoil(await readFile(path, 'utf8')));
    const forms = await chooser({ form: 'batch' }).formsOf(phaseOf(large));
    expect(forms.get(productName(large))).toBe('batch');
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
      key,
      forms: { [productName(large)]: { form: 'batch', speedup: 1 } },
    });
  });

  it('are timed by one of those that start at once, and the others take what it found', async () => {
    const timed: string[] = [];
    const starts = Array.from({ length: 4 }, () => chooser({ timed }).formsOf(phaseOf(large)));
    const found = await Promise.all(starts);
    expect(found.map((forms) => forms.get(productName(large)))).toEqual(['matrix', 'matrix', 'matrix', 'matrix']);
    expect(timed).toHaveLength(1);
    expect(await readdir(join(home, 'forms'))).toHaveLength(1);
  });

  it('stay as they are usually where nothing can be kept', async () => {
    await writeFile(join(home, 'file'), '');
    const timed: string[] = [];
    expect(await chooser({ timed, directory: join(home, 'file', 'forms') }).formsOf(phaseOf(large))).toEqual(new Map());
    expect(timed).toEqual([]);
  });
});

it('the environment may fix the forms', () => {
  expect(productFormsDirectory({ WEFT_CACHE_DIR: '/cache' })).toBe('/cache/product-forms');
  expect(productFormsDirectory({ WEFT_PRODUCT_FORMS: 'fixed' })).toBeUndefined();
  expect(() => productFormsDirectory({ WEFT_PRODUCT_FORMS: 'slow' })).toThrow(/"slow", neither timed nor fixed/);
});
