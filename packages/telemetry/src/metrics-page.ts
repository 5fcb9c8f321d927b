import { LABELS, type MetricDeclaration } from './declare-metric.js';
import { COORDINATOR_METRICS, RUN_METRICS, WORKER_METRICS } from './metrics.js';

/** `docs/metrics.md`, made of the declaration. */
export function metricsPage(): string {
  return `# Metrics

Made of \`packages/telemetry/src/metrics.ts\` by \`npx vitest run packages/telemetry -u\`; do not edit.

Coordinator and workers answer \`/metrics\` in the text format of Prometheus, and in OpenMetrics when asked for it. Prometheus finds
the workers at \`/sd/workers\` of the coordinator's metrics address (HTTP service discovery), or in \`prometheus-targets.json\` of
the home (file discovery). Both give every target the labels \`run\`, \`rank\`, \`host\` and \`role\`; an idle worker has no run and
no rank. The names of \`process_*\` and \`nodejs_*\`, among them \`nodejs_eventloop_lag_seconds\`, are those of all Node programs.

## Runs

From the coordinator, once for each run. Never sum them over workers.

${table(RUN_METRICS)}

## Workers

From every worker, about itself.

${table(WORKER_METRICS)}

## The coordinator

${table(COORDINATOR_METRICS)}

## Labels

| label | values |
|---|---|
${Object.entries(LABELS)
  .map(([label, values]) => `| \`${label}\` | ${values} |`)
  .join('\n')}
`;
}

function table(declarations: Readonly<Record<string, MetricDeclaration>>): string {
  const rows = Object.values(declarations).map(({ name, kind, unit, labels, help }) => {
    const each = labels.map((label) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${kind} | ${unit} | ${each} | ${help} |`;
  });
  return ['| metric | kind | unit | labels | meaning |', '|---|---|---|---|---|', ...rows].join('\n');
}
