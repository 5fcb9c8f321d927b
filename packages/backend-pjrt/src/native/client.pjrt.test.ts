import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpuClient, cpuPlugin } from '../testing/cpu-client.js';
import { Client } from './client.js';
import { loadPlugin } from './plugin.js';

/** The product of two matrices, the first of which is overwritten by it, and a number. */
const PRODUCT = `module @product {
  func.func public @main(%a: tensor<2x2xf32> {tf.aliasing_output = 0 : i32}, %b: tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<i32>) {
    %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
    %1 = stablehlo.constant dense<3> : tensor<i32>
    return %0, %1 : tensor<2x2xf32>, tensor<i32>
  }
}`;

let client: Client;
beforeAll(async () => {
  client = await cpuClient();
});
afterAll(() => client.close());

const matrix = (...values: number[]) => client.upload(Float32Array.from(values), [2, 2], 'float32');

describe('a client', () => {
  test('knows its plugin, platform and devices', () => {
    expect(client.plugin.apiVersion).toMatch(/^0\.\d+$/);
    expect(client.plugin.attributes()).toMatchObject({
      stablehlo_current_version: expect.stringMatching(/^1\.\d+\.\d+$/),
    });
    expect(client.platform).toBe('cpu');
    expect(client.devices).toMatchObject([{ id: 0, kind: 'cpu' }]);
    expect(client.memoryOf(client.firstDevice)).toBeUndefined();
  });

  test('compiles, runs and reads without blocking the event loop', async () => {
    const big = 1024;
    const type = `tensor<${big}x${big}xf32>`;
    const square = await client.compile(`module { func.func public @main(%a: ${type}) -> ${type} {
      %0 = stablehlo.dot_general %a, %a, contracting_dims = [1] x [0] : (${type}, ${type}) -> ${type}
      return %0 : ${type} } }`);
    const a = await client.upload(new Float32Array(big * big).fill(1), [big, big], 'float32');
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    for (let i = 0; i < 5; i++) {
      const { outputs, done } = await square.execute([a]);
      await done;
      const [product] = outputs;
      expect((await product?.readInto(new Float32Array(big * big)))?.[7]).toBe(big);
      product?.free();
    }
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(5);
    a.free();
    square.free();
  });

  test('donates an argument: its memory becomes the result', async () => {
    const product = await client.compile(PRODUCT);
    expect(product.memory.aliases).toBe(16);
    const [a, b] = [await matrix(1, 2, 3, 4), await matrix(0, 1, 1, 0)];
    const { outputs, done } = await product.execute([a, b]);
    await done;
    const [swapped, three] = outputs;
    expect(a.isDonated).toBe(true);
    expect(b.isDonated).toBe(false);
    expect(await swapped?.readInto(new Float32Array(4))).toEqual(Float32Array.of(2, 1, 4, 3));
    expect(await three?.readInto(new Int32Array(1))).toEqual(Int32Array.of(3));
    expect([swapped?.shape, swapped?.elementType, three?.shape, three?.elementType]).toEqual([
      [2, 2],
      'float32',
      [],
      'int32',
    ]);
    await expect(product.execute([a, b])).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('deleted or donated'),
    });
    await expect(a.readInto(new Float32Array(4))).rejects.toThrow(/deleted or donated/);
    for (const buffer of [a, b, ...outputs]) buffer.free();
    product.free();
  });

  test('takes back what it serialized', async () => {
    const compiled = await client.compile(PRODUCT);
    const bytes = compiled.serialize();
    compiled.free();
    const loaded = await client.load(bytes);
    const inputs = [await matrix(1, 0, 0, 1), await matrix(5, 6, 7, 8)];
    const { outputs, done } = await loaded.execute(inputs);
    await done;
    expect(await outputs[0]?.readInto(new Float32Array(4))).toEqual(Float32Array.of(5, 6, 7, 8));
    for (const buffer of [...inputs, ...outputs]) buffer.free();
    loaded.free();
    await expect(client.load(Uint8Array.of(1, 2, 3))).rejects.toThrow(/DeserializeAndLoad/);
  });
});

describe('misuse is an error, never a crash', () => {
  test('after a free, and at a second one', async () => {
    const a = await matrix(1, 2, 3, 4);
    a.free();
    expect(() => a.free()).toThrow(/freed twice/);
    expect(() => a.shape).toThrow(/after it was freed/);
    await expect(a.readInto(new Float32Array(4))).rejects.toMatchObject({ code: 'internal' });
  });

  test('a buffer that is freed under a running call is destroyed after it', async () => {
    const product = await client.compile(PRODUCT);
    const [a, b] = [await matrix(1, 2, 3, 4), await matrix(0, 1, 1, 0)];
    const running = product.execute([a, b]);
    a.free();
    b.free();
    product.free();
    const { outputs } = await running;
    const reading = outputs[0]?.readInto(new Float32Array(4));
    for (const output of outputs) output.free();
    expect(await reading).toEqual(Float32Array.of(2, 1, 4, 3));
  });

  test('wrong arguments, sizes and programs', async () => {
    const product = await client.compile(PRODUCT);
    const a = await matrix(1, 2, 3, 4);
    await expect(product.execute([a])).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(a.readInto(new Float32Array(3))).rejects.toThrow(/16 bytes is not read into 12/);
    await expect(client.compile('module {')).rejects.toThrow(/PJRT_Client_Compile: .*expected operation name/);
    a.free();
    product.free();
  });

  test('closing a client frees what it owns, once its calls are over', async () => {
    const other = await cpuClient();
    const buffer = await other.upload(Float32Array.of(1), [], 'float32');
    const compiling = other.compile(PRODUCT);
    await Promise.all([other.close(), compiling]);
    expect(() => buffer.shape).toThrow(/after it was freed/);
    expect((await compiling).isFreed).toBe(true);
    await other.close();
  });
});

describe('a plugin', () => {
  test('is loaded once', async () => {
    expect(await cpuPlugin()).toBe(client.plugin);
  });

  test('refuses options that it does not know, by their names', async () => {
    const opening = Client.open(client.plugin, { cpu_device_count: 1, no_such_option: 'x' });
    await expect(opening).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('no_such_option'),
      hint: 'leave out what this plugin does not know of cpu_device_count, no_such_option',
    });
  });

  test('must be one', () => {
    const broken = { code: 'native_library', hint: expect.stringContaining('WEFT_PJRT_PLUGIN') };
    expect(() => loadPlugin('/nowhere/plugin.so')).toThrow(expect.objectContaining(broken));
    expect(() => loadPlugin(process.execPath)).toThrow(expect.objectContaining(broken));
    expect(() => loadPlugin('libm.so.6')).toThrow(/exports no GetPjrtApi/);
  });
});
