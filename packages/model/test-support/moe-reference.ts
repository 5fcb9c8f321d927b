/**
 * An MoE layer written from its definition, token by token, in double precision and without tensors: what the layer of
 * the model is measured against. It shares nothing with it.
 */

export type Matrix = readonly (readonly number[])[];

/** One expert's matrices: [D][F], [D][F], [F][D]. */
export interface ReferenceExpert {
  readonly gate: Matrix;
  readonly up: Matrix;
  readonly down: Matrix;
}

export interface ReferenceLayer {
  /** [tokens][D]. */
  readonly x: Matrix;
  /** [D][experts]. */
  readonly router: Matrix;
  readonly experts: readonly ReferenceExpert[];
}

export interface ReferenceSetting {
  readonly groupSize: number;
  readonly capacityFactor: number | 'dropless';
  /** Whether each token is one of the sequences, not padding. */
  readonly live: readonly boolean[];
  /** Whether each token has a text target. */
  readonly isTarget: readonly boolean[];
}

export interface ReferenceResult {
  readonly out: Matrix;
  readonly routed: readonly number[];
  readonly dropped: readonly number[];
  readonly entropy: number;
  /** Summed over text targets. */
  readonly loadBalance: number;
  readonly zLoss: number;
}

/** The two experts of every token, the more probable one first; none for padding. */
export type Assignments = readonly (readonly [number, number] | undefined)[];

/** Top-2 routing: the two most probable experts of every token, the lower id first where they are equal. */
export function assign({ x, router }: ReferenceLayer, { live }: ReferenceSetting): Assignments {
  return x.map((row, token) => {
    if (!live[token]) return undefined;
    const order = softmax(times(row, router))
      .map((p, expert) => ({ p, expert }))
      .sort((a, b) => b.p - a.p || a.expert - b.expert);
    return [order[0]!.expert, order[1]!.expert];
  });
}

/**
 * The layer: outputs, drops and losses.
 * @param assignments fixed, so that the result is differentiable where a token is tied between two experts
 */
export function referenceLayer(
  layer: ReferenceLayer,
  setting: ReferenceSetting,
  assignments: Assignments,
): ReferenceResult {
  const { x, router, experts } = layer;
  const { groupSize, capacityFactor, live, isTarget } = setting;
  const out: number[][] = x.map((row) => row.map(() => 0));
  const routed: number[] = experts.map(() => 0);
  const dropped: number[] = experts.map(() => 0);
  let [entropy, loadBalance, zLoss] = [0, 0, 0];

  const capacity =
    capacityFactor === 'dropless' ? groupSize : Math.max(1, Math.trunc((groupSize * capacityFactor) / experts.length));

  for (let start = 0; start < x.length; start += groupSize) {
    const tokens = Array.from({ length: groupSize }, (_, i) => start + i).filter((token) => live[token]);
    const targets = Array.from({ length: groupSize }, (_, i) => isTarget[start + i]).filter(Boolean).length;
    const logits = new Map(tokens.map((token) => [token, times(x[token]!, router)]));
    const probabilities = new Map(tokens.map((token) => [token, softmax(logits.get(token)!)]));

    const taken: number[] = experts.map(() => 0);
    for (const k of [0, 1] as const) {
      for (const token of tokens) {
        const pair = assignments[token]!;
        const p = probabilities.get(token)!;
        const expert = pair[k];
        routed[expert]! += 1;
        if (taken[expert]! >= capacity) {
          dropped[expert]! += 1;
          continue;
        }
        taken[expert]! += 1;
        const gate = p[expert]! / (p[pair[0]]! + p[pair[1]]! + 1e-9);
        swiglu(x[token]!, experts[expert]!).forEach((value, d) => {
          out[token]![d]! += gate * value;
        });
      }
    }

    let groupZ = 0;
    for (const token of tokens) {
      const p = probabilities.get(token)!;
      entropy -= p.reduce((sum, each) => sum + (each === 0 ? 0 : each * Math.log(each)), 0);
      groupZ += logSumExp(logits.get(token)!) ** 2;
    }
    const count = Math.max(tokens.length, 1);
    zLoss += (targets * groupZ) / count;
    const products = experts.map((_, expert) => {
      const density = tokens.filter((token) => assignments[token]![0] === expert).length / count;
      const meanGate = tokens.reduce((sum, token) => sum + probabilities.get(token)![expert]!, 0) / count;
      return density * meanGate;
    });
    const mean = products.reduce((sum, each) => sum + each, 0) / experts.length;
    loadBalance += targets * experts.length ** 2 * mean;
  }
  return { out, routed, dropped, entropy, loadBalance, zLoss };
}

function swiglu(row: readonly number[], { gate, up, down }: ReferenceExpert): readonly number[] {
  const [gates, ups] = [times(row, gate), times(row, up)];
  return times(
    gates.map((g, f) => (g / (1 + Math.exp(-g))) * ups[f]!),
    down,
  );
}

function times(row: readonly number[], matrix: Matrix): number[] {
  return matrix[0]!.map((_, column) => row.reduce((sum, value, i) => sum + value * matrix[i]![column]!, 0));
}

function softmax(logits: readonly number[]): number[] {
  const sum = logSumExp(logits);
  return logits.map((logit) => Math.exp(logit - sum));
}

function logSumExp(logits: readonly number[]): number {
  const most = Math.max(...logits);
  return most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
}
