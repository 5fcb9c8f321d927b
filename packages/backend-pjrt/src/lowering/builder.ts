import { WeftError } from '@weft/common';
import { type DType, elementCount, type ValueInfo } from '@weft/tensor';
import { type Mesh, type Sharding, SINGLE, shardShape } from '../mesh/mesh.js';
import { denseLiteral, numberBytes } from './constants.js';
import { manualAxes, openShardingText, shardingText } from './sharding.js';
import { axisOf, broadcastShape, isReal, range, sameShape, typeOf, type Value } from './value.js';

/** How two values are compared. */
export type Comparison = 'EQ' | 'LT' | 'LE' | 'GE' | 'NE';

/** Fused: in kernels of cuDNN where they fit, which only NVIDIA's GPUs have. */
export type AttentionLowering = 'fused' | 'blockwise';

interface BuilderOptions {
  readonly attention?: AttentionLowering | undefined;
  /** Default: one device. */
  readonly mesh?: Mesh | undefined;
}

/** A value as it lies on the mesh. */
export interface Laid<Of extends ValueInfo = Value> {
  readonly value: Of;
  readonly sharding: Sharding;
}

/**
 * Writes the body of a StableHLO function, one op a line, and knows the shape of everything that it wrote. Its methods are
 * ops of StableHLO; what they are made of is in https://openxla.org/stablehlo/spec.
 */
export class Builder {
  readonly lines: string[] = [];
  /** How attention is written where there is a choice. */
  readonly attention: AttentionLowering;
  /** What the program is cut over. */
  readonly mesh: Mesh;
  #constants = new Map<string, Value>();
  #names = 0;

  constructor({ attention = 'blockwise', mesh = SINGLE }: BuilderOptions = {}) {
    this.attention = attention;
    this.mesh = mesh;
  }

  /**
   * Writes one op with one result.
   * @param text of the op, from its name to its attributes
   */
  write(text: string, operands: readonly Value[], result: ValueInfo): Value {
    const [value] = this.writeMany(text, operands, [result]);
    return value as Value;
  }

  /** Writes one op with several results. */
  writeMany(text: string, operands: readonly Value[], results: readonly ValueInfo[]): readonly Value[] {
    const values = results.map(({ shape, dtype }) => ({ name: `%${this.#names++}`, shape, dtype }));
    const types = results.map(typeOf);
    const to = types.length === 1 ? types[0] : `(${types.join(', ')})`;
    const names = values.map(({ name }) => name).join(', ');
    this.lines.push(`${names} = ${text} : (${operands.map(typeOf).join(', ')}) -> ${to}`);
    return values;
  }

  /** Equal constants are one. */
  constant(info: ValueInfo, bytes: Uint8Array): Value {
    const [literal, type] = [denseLiteral(info, bytes), typeOf(info)];
    const key = `${literal} ${type}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const value = { name: `%${this.#names++}`, shape: info.shape, dtype: info.dtype };
    this.lines.push(`${value.name} = stablehlo.constant ${literal} : ${type}`);
    this.#constants.set(key, value);
    return value;
  }

  scalar(number: number, dtype: DType): Value {
    return this.constant({ shape: [], dtype }, numberBytes(number, dtype));
  }

  filled(number: number, { shape, dtype }: ValueInfo): Value {
    return this.broadcast(this.scalar(number, dtype), shape);
  }

  unary(op: string, x: Value): Value {
    return this.write(`stablehlo.${op} ${x.name}`, [x], x);
  }

  /** Shapes broadcast, which StableHLO wants written out. */
  binary(op: string, x: Value, y: Value): Value {
    const [a, b] = this.#aligned(x, y);
    return this.write(`stablehlo.${op} ${a.name}, ${b.name}`, [a, b], a);
  }

  compare(how: Comparison, x: Value, y: Value): Value {
    const [a, b] = this.#aligned(x, y);
    const kind = isReal(x.dtype) ? 'FLOAT' : x.dtype === 'bool' || x.dtype === 'uint8' ? 'UNSIGNED' : 'SIGNED';
    const text = `stablehlo.compare ${how}, ${a.name}, ${b.name}, ${kind}`;
    return this.write(text, [a, b], { shape: a.shape, dtype: 'bool' });
  }

  /** Elementwise; shapes broadcast. */
  select(condition: Value, yes: Value, no: Value): Value {
    const shape = broadcastShape(condition.shape, broadcastShape(yes.shape, no.shape));
    const [p, a, b] = [condition, yes, no].map((value) => this.broadcast(value, shape)) as [Value, Value, Value];
    return this.write(`stablehlo.select ${p.name}, ${a.name}, ${b.name}`, [p, a, b], a);
  }

  convert(x: Value, dtype: DType): Value {
    if (x.dtype === dtype) return x;
    return this.write(`stablehlo.convert ${x.name}`, [x], { shape: x.shape, dtype });
  }

  reshape(x: Value, shape: readonly number[]): Value {
    if (sameShape(x.shape, shape)) return x;
    if (elementCount(shape) !== elementCount(x.shape)) {
      throw new WeftError('internal', `shape [${x.shape}] cannot become [${shape}]`);
    }
    return this.write(`stablehlo.reshape ${x.name}`, [x], { shape, dtype: x.dtype });
  }

  /** Repeats elements; the axes of x are the last ones of the new shape. */
  broadcast(x: Value, shape: readonly number[]): Value {
    if (sameShape(x.shape, shape)) return x;
    const axes = range(x.shape.length, shape.length - x.shape.length);
    return this.write(`stablehlo.broadcast_in_dim ${x.name}, dims = [${axes}]`, [x], { shape, dtype: x.dtype });
  }

  /** The same with the axes of x being the given ones of the new shape. */
  broadcastAlong(x: Value, shape: readonly number[], axes: readonly number[]): Value {
    return this.write(`stablehlo.broadcast_in_dim ${x.name}, dims = [${axes}]`, [x], { shape, dtype: x.dtype });
  }

  transpose(x: Value, axes: readonly number[]): Value {
    const shape = axes.map((axis) => x.shape[axisOf(axis, x.shape.length)] as number);
    return this.write(`stablehlo.transpose ${x.name}, dims = [${axes}]`, [x], { shape, dtype: x.dtype });
  }

  slice(x: Value, begin: readonly number[], shape: readonly number[]): Value {
    if (sameShape(x.shape, shape)) return x;
    const parts = shape.map((size, axis) => `${begin[axis]}:${(begin[axis] ?? 0) + size}`);
    return this.write(`stablehlo.slice ${x.name} [${parts.join(', ')}]`, [x], { shape, dtype: x.dtype });
  }

  /** A part that begins where scalars of int32 say, one for each axis. */
  dynamicSlice(x: Value, starts: readonly Value[], shape: readonly number[]): Value {
    const operands = [x, ...starts];
    const text = `stablehlo.dynamic_slice ${operands.map(({ name }) => name).join(', ')}, sizes = [${shape}]`;
    return this.write(text, operands, { shape, dtype: x.dtype });
  }

  /** x with a part of it replaced. */
  dynamicUpdateSlice(x: Value, part: Value, starts: readonly Value[]): Value {
    const operands = [x, part, ...starts];
    return this.write(`stablehlo.dynamic_update_slice ${operands.map(({ name }) => name).join(', ')}`, operands, x);
  }

  reverse(x: Value, axes: readonly number[]): Value {
    return this.write(`stablehlo.reverse ${x.name}, dims = [${axes}]`, [x], x);
  }

  concatenate(parts: readonly Value[], axis: number): Value {
    const [first] = parts;
    if (first === undefined) throw new WeftError('internal', 'nothing is concatenated');
    if (parts.length === 1) return first;
    const sum = parts.reduce((total, { shape }) => total + (shape[axis] ?? 0), 0);
    const shape = first.shape.with(axis, sum);
    const names = parts.map(({ name }) => name).join(', ');
    return this.write(`stablehlo.concatenate ${names}, dim = ${axis}`, parts, { shape, dtype: first.dtype });
  }

  /** 0, 1, 2 … along an axis. */
  iota(info: ValueInfo, axis: number): Value {
    const value = { name: `%${this.#names++}`, shape: info.shape, dtype: info.dtype };
    this.lines.push(`${value.name} = stablehlo.iota dim = ${axis} : ${typeOf(info)}`);
    return value;
  }

  /** Folds axes, counted from the front, which are gone afterwards. */
  reduce(op: 'add' | 'maximum', x: Value, axes: readonly number[]): Value {
    if (axes.length === 0) return x;
    const initial = this.scalar(op === 'add' ? 0 : smallest(x.dtype), x.dtype);
    const shape = x.shape.filter((_, axis) => !axes.includes(axis));
    const text = `stablehlo.reduce(${x.name} init: ${initial.name}) applies stablehlo.${op} across dimensions = [${axes}]`;
    return this.write(text, [x, initial], { shape, dtype: x.dtype });
  }

  /** Values that nothing computes before all of them are there: what is made of them is not merged with what was made earlier. */
  barrier(values: readonly Value[]): readonly Value[] {
    const results = values.map(({ shape, dtype }) => ({ name: `%${this.#names++}`, shape, dtype }));
    const [names, operands] = [results, values].map((list) => list.map(({ name }) => name).join(', '));
    this.lines.push(`${names} = stablehlo.optimization_barrier ${operands} : ${values.map(typeOf).join(', ')}`);
    return results;
  }

  /**
   * Runs a body for every index from `begin` up to, not including, `end`, scalars of int32. The body gets the index and the
   * carried values, which keep their shapes, and returns their next ones. It may read what was written before the loop.
   */
  loop(
    begin: Value,
    end: Value,
    carried: readonly Value[],
    body: (index: Value, carried: readonly Value[]) => readonly Value[],
  ): readonly Value[] {
    const one = this.scalar(1, 'int32');
    const initial = [begin, ...carried];
    const types = initial.map(typeOf);
    const results = initial.map(({ shape, dtype }) => ({ name: `%${this.#names++}`, shape, dtype }));
    const [names, operands] = [results, initial].map((list) => list.map(({ name }) => name).join(', '));
    this.lines.push(`${names} = "stablehlo.while"(${operands}) ({`);
    this.#region(initial, ([index]) => [this.compare('LT', index as Value, end)]);
    this.lines.push('}, {');
    this.#region(initial, ([index, ...values]) => [
      this.binary('add', index as Value, one),
      ...body(index as Value, values),
    ]);
    this.lines.push(`}) : (${types.join(', ')}) -> (${types.join(', ')})`);
    return results.slice(1);
  }

  /** One of two parts, whose results have the same types. They may read what was written before. */
  conditional(condition: Value, yes: () => readonly Value[], no: () => readonly Value[]): readonly Value[] {
    const before = this.lines.length;
    let results: readonly Value[] = [];
    this.#region([], () => {
      results = yes();
      return results;
    });
    const first = this.lines.splice(before);
    this.#region([], no);
    const second = this.lines.splice(before);
    const infos = results.map(({ shape, dtype }) => ({ name: `%${this.#names++}`, shape, dtype }));
    this.lines.push(`${infos.map(({ name }) => name).join(', ')} = "stablehlo.if"(${condition.name}) ({`);
    this.lines.push(...first, '}, {', ...second, `}) : (tensor<i1>) -> (${infos.map(typeOf).join(', ')})`);
    return infos;
  }

  /** The same value, which is to lie in this way. Axes that are whole in it may be cut as the partitioner likes. */
  constrain(x: Value, sharding: Sharding): Value {
    const value = { name: `%${this.#names++}`, shape: x.shape, dtype: x.dtype };
    this.lines.push(
      `${value.name} = sdy.sharding_constraint ${x.name} ${openShardingText(x.shape.length, sharding)} : ${typeOf(x)}`,
    );
    return value;
  }

  /**
   * A part that every device computes by itself, on its shards of the operands: the partitioner takes it as it is. Nothing
   * that was written before is known in it.
   * @param body gets the shards, and returns those of the results
   */
  onShards(
    operands: readonly Laid[],
    results: readonly Laid<ValueInfo>[],
    body: (shards: readonly Value[]) => readonly Value[],
  ): readonly Value[] {
    const outside = this.#constants;
    this.#constants = new Map();
    const shards = operands.map(({ value, sharding }) => ({
      name: `%${this.#names++}`,
      shape: shardShape(value.shape, sharding, this.mesh),
      dtype: value.dtype,
    }));
    const values = results.map(({ value: { shape, dtype } }) => ({ name: `%${this.#names++}`, shape, dtype }));
    const list = (of: readonly string[]) => of.join(', ');
    const lay = (of: readonly Laid<ValueInfo>[]) =>
      list(of.map(({ value, sharding }) => shardingText(value.shape.length, sharding)));
    const types = (of: readonly ValueInfo[]) => list(of.map(typeOf));
    const wholes = operands.map(({ value }) => value);
    const laid = `in_shardings=[${lay(operands)}] out_shardings=[${lay(results)}] manual_axes={${manualAxes(this.mesh)}}`;
    this.lines.push(
      `${list(values.map(({ name }) => name))} = sdy.manual_computation(${list(wholes.map(({ name }) => name))}) ${laid} (${list(shards.map((shard) => `${shard.name}: ${typeOf(shard)}`))}) {`,
    );
    const made = body(shards);
    this.lines.push(`sdy.return ${list(made.map(({ name }) => name))} : ${types(made)}`);
    this.lines.push(`} : (${types(wholes)}) -> (${types(values)})`);
    this.#constants = outside;
    return values;
  }

  /** A region that adds two scalars, for ops that take one. */
  addRegion(dtype: DType): string {
    const type = typeOf({ shape: [], dtype });
    return `({ ^bb0(%a: ${type}, %b: ${type}): %s = stablehlo.add %a, %b : ${type} stablehlo.return %s : ${type} })`;
  }

  /** A region with arguments like the given values. What is written in it is unknown outside. */
  #region(like: readonly Value[], write: (values: readonly Value[]) => readonly Value[]): void {
    const values = like.map(({ shape, dtype }) => ({ name: `%${this.#names++}`, shape, dtype }));
    const outside = this.#constants;
    this.#constants = new Map(outside);
    if (values.length > 0)
      this.lines.push(`^bb0(${values.map((value) => `${value.name}: ${typeOf(value)}`).join(', ')}):`);
    const results = write(values);
    const types = results.map(typeOf).join(', ');
    this.lines.push(`stablehlo.return ${results.map(({ name }) => name).join(', ')} : ${types}`);
    this.#constants = outside;
  }

  #aligned(x: Value, y: Value): readonly [Value, Value] {
    if (x.dtype !== y.dtype) throw new WeftError('internal', `operands are of ${x.dtype} and ${y.dtype}`);
    const shape = broadcastShape(x.shape, y.shape);
    return [this.broadcast(x, shape), this.broadcast(y, shape)];
  }
}

function smallest(dtype: DType): number {
  return isReal(dtype) ? Number.NEGATIVE_INFINITY : dtype === 'int32' ? -(2 ** 31) : 0;
}
