import { COORDINATOR_METRICS, type MetricDeclaration, RUN_METRICS, WORKER_METRICS } from '@weft/telemetry';

/** The name of every series by its key in the declaration: an expression cannot name what is not declared. */
export const coordinator = namesOf(COORDINATOR_METRICS);
export const run = namesOf(RUN_METRICS);
export const worker = namesOf(WORKER_METRICS);

function namesOf<const Declarations extends Readonly<Record<string, MetricDeclaration>>>(
  declarations: Declarations,
): { readonly [Key in keyof Declarations]: string } {
  const names = Object.entries(declarations).map(([key, { name }]) => [key, name]);
  return Object.fromEntries(names) as { readonly [Key in keyof Declarations]: string };
}

/** The jobs of `prometheus.yml`. */
export const JOBS = { coordinator: 'weft-coordinator', workers: 'weft-workers' } as const;
