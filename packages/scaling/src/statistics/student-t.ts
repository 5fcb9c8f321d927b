import { WeftError } from '@weft/common';

/**
 * The t for which |T| ≤ t holds with probability `level`, T having Student's distribution: the factor of a two-sided
 * interval, 12.7062… for level 0.95 and one degree of freedom.
 *
 * @param level in (0, 1)
 * @param degreesOfFreedom an integer of at least 1
 * @throws WeftError `invalid_argument` for other values
 */
export function studentT(level: number, degreesOfFreedom: number): number {
  if (!(level > 0 && level < 1)) throw new WeftError('invalid_argument', `a level lies between 0 and 1, not ${level}`);
  if (!Number.isInteger(degreesOfFreedom) || degreesOfFreedom < 1)
    throw new WeftError('invalid_argument', `degrees of freedom are whole and at least 1, not ${degreesOfFreedom}`);
  return Math.sqrt(degreesOfFreedom) * Math.tan(solveAngle(level, degreesOfFreedom));
}

/** P(|T| ≤ t), the inverse of `studentT`. */
export function studentTProbability(t: number, degreesOfFreedom: number): number {
  return withinAngle(Math.atan(t / Math.sqrt(degreesOfFreedom)), degreesOfFreedom);
}

/**
 * P(|T| ≤ √ν·tan θ) for whole ν, a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4):
 * odd ν: 2/π·(θ + sin θ·(cos θ + 2/3·cos³θ + 2·4/(3·5)·cos⁵θ + …)), up to cos^(ν−2);
 * even ν: sin θ·(1 + 1/2·cos²θ + 1·3/(2·4)·cos⁴θ + …), up to cos^(ν−2).
 */
function withinAngle(theta: number, degreesOfFreedom: number): number {
  const isOdd = degreesOfFreedom % 2 === 1;
  const squared = Math.cos(theta) ** 2;
  let term = isOdd ? Math.cos(theta) : 1;
  let sum = 0;
  for (let power = isOdd ? 1 : 0; power <= degreesOfFreedom - 2; power += 2) {
    sum += term;
    term *= (squared * (power + 1)) / (power + 2);
  }
  return isOdd ? (2 / Math.PI) * (theta + Math.sin(theta) * sum) : Math.sin(theta) * sum;
}

/** Newton's method within a bracket. In θ the distribution is on (0, π/2) and has no tails, so it converges quickly. */
function solveAngle(level: number, degreesOfFreedom: number): number {
  const slope = 1 / withinSlopeIntegral(degreesOfFreedom);
  let [low, high] = [0, Math.PI / 2];
  let theta = (level * Math.PI) / 2;
  for (let round = 0; round < 100; round++) {
    const excess = withinAngle(theta, degreesOfFreedom) - level;
    if (excess > 0) high = theta;
    else low = theta;
    const step = excess / (slope * Math.cos(theta) ** (degreesOfFreedom - 1));
    const next = theta - step;
    const inside = next > low && next < high ? next : (low + high) / 2;
    if (Math.abs(inside - theta) <= 1e-16 * theta) return inside;
    theta = inside;
  }
  return theta;
}

/** ∫₀^(π/2) cos^(ν−1): the density in θ is cos^(ν−1)θ divided by this. Wallis' product. */
function withinSlopeIntegral(degreesOfFreedom: number): number {
  let integral = degreesOfFreedom % 2 === 1 ? Math.PI / 2 : 1;
  for (let power = degreesOfFreedom % 2 === 1 ? 2 : 3; power <= degreesOfFreedom - 1; power += 2)
    integral *= (power - 1) / power;
  return integral;
}
