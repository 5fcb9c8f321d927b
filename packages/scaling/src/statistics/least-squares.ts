import { WeftError } from '@weft/common';

/** A square symmetric matrix, row by row. */
export type Matrix = readonly (readonly number[])[];

/** A weighted linear fit y ≈ X·coefficients. */
export interface LinearFit {
  readonly coefficients: readonly number[];
  /** (XᵀWX)⁻¹; times the residual variance it is the covariance of the coefficients. */
  readonly inverse: Matrix;
  /** Rows minus coefficients. */
  readonly degreesOfFreedom: number;
  /** Σ w·(y − fitted)² / degreesOfFreedom: the variance of an observation of weight 1; null without a degree of freedom. */
  readonly residualVariance: number | null;
  /** The part of the weighted variation around the mean that the fit explains; null when y does not vary. */
  readonly rSquared: number | null;
}

/** A column is dependent when the part that earlier columns do not explain is below this fraction of its norm. */
const DEPENDENCE_TOLERANCE = 1e-10;

/**
 * Weighted least squares by Householder's QR decomposition. The first column of `rows` is the constant 1.
 *
 * @param weights of the observations, positive: an observation of weight w has the variance σ²/w. Default: all 1.
 * @throws WeftError `failed_precondition` when there are fewer rows than coefficients or the columns are dependent.
 */
export function leastSquares(
  rows: readonly (readonly number[])[],
  y: readonly number[],
  weights: readonly number[] = y.map(() => 1),
): LinearFit {
  const width = rows[0]?.length ?? 0;
  if (rows.length < width)
    throw new WeftError('failed_precondition', `${rows.length} points cannot determine ${width} coefficients`);
  const scaled = rows.map((row, i) => [...row, at(y, i)].map((value) => value * Math.sqrt(at(weights, i))));
  const triangle = triangularize(scaled, width);
  const coefficients = solveUpper(
    triangle,
    triangle.slice(0, width).map((row) => at(row, width)),
  );
  const residuals = rows.map((row, i) => at(y, i) - dot(row, coefficients));
  const squares = sum(residuals.map((residual, i) => at(weights, i) * residual ** 2));
  const mean = dot(weights, y) / sum(weights);
  const total = sum(y.map((value, i) => at(weights, i) * (value - mean) ** 2));
  const degreesOfFreedom = rows.length - width;
  return {
    coefficients,
    inverse: inverseOfGram(triangle, width),
    degreesOfFreedom,
    residualVariance: degreesOfFreedom === 0 ? null : squares / degreesOfFreedom,
    rSquared: total === 0 ? null : 1 - squares / total,
  };
}

/** xᵀ·M·x */
export function quadraticForm(x: readonly number[], matrix: Matrix): number {
  return sum(x.map((value, i) => value * dot(matrix[i] ?? [], x)));
}

/** The first `width` columns become an upper triangle; the reflections act on all columns. */
function triangularize(rows: readonly (readonly number[])[], width: number): number[][] {
  const a = rows.map((row) => [...row]);
  for (let k = 0; k < width; k++) {
    const before = Math.hypot(...a.map((row) => at(row, k)));
    const below = a.slice(k).map((row) => at(row, k));
    const norm = Math.hypot(...below);
    if (!(norm > DEPENDENCE_TOLERANCE * before))
      throw new WeftError('failed_precondition', 'the points do not determine the coefficients', {
        hint: 'add points that differ in every variable of the law, and not in step with one another',
      });
    const alpha = at(below, 0) > 0 ? -norm : norm;
    const mirror = [at(below, 0) - alpha, ...below.slice(1)];
    const length = dot(mirror, mirror);
    for (let column = k; column < (a[0]?.length ?? 0); column++) {
      const part = (2 * sum(mirror.map((value, i) => value * at(a[k + i] ?? [], column)))) / length;
      for (const [i, value] of mirror.entries()) {
        const row = a[k + i] ?? [];
        row[column] = at(row, column) - part * value;
      }
    }
  }
  return a;
}

/** The x with R·x = right, R being the upper triangle. */
function solveUpper(triangle: readonly (readonly number[])[], right: readonly number[]): number[] {
  const x = right.map(() => 0);
  for (let k = right.length - 1; k >= 0; k--) {
    const row = triangle[k] ?? [];
    const known = sum(x.map((value, column) => (column > k ? value * at(row, column) : 0)));
    x[k] = (at(right, k) - known) / at(row, k);
  }
  return x;
}

/** (RᵀR)⁻¹ = R⁻¹·R⁻ᵀ */
function inverseOfGram(triangle: readonly (readonly number[])[], width: number): Matrix {
  const unit = (k: number) => Array.from({ length: width }, (_, i) => (i === k ? 1 : 0));
  const columns = Array.from({ length: width }, (_, k) => solveUpper(triangle, unit(k)));
  return Array.from({ length: width }, (_, i) =>
    Array.from({ length: width }, (_, j) => sum(columns.map((column) => at(column, i) * at(column, j)))),
  );
}

const at = (row: readonly number[], index: number) => row[index] ?? 0;
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const dot = (left: readonly number[], right: readonly number[]) => sum(left.map((value, i) => value * at(right, i)));
