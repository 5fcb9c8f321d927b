import { CLUSTER_DASHBOARD } from './cluster-dashboard.js';
import { COORDINATOR_DASHBOARD } from './coordinator-dashboard.js';
import type { Dashboard } from './dashboard.js';
import { DATA_DASHBOARD } from './data-dashboard.js';
import { EXPERTS_DASHBOARD } from './experts-dashboard.js';
import { RUN_DASHBOARD } from './run-dashboard.js';

/** Every dashboard, in the order of how often they are looked at. */
export const DASHBOARDS: readonly Dashboard[] = [
  RUN_DASHBOARD,
  CLUSTER_DASHBOARD,
  DATA_DASHBOARD,
  EXPERTS_DASHBOARD,
  COORDINATOR_DASHBOARD,
];

/** Every expression of every panel, with what names it in messages. */
export function panelExpressions(): readonly { readonly panel: string; readonly expression: string }[] {
  return DASHBOARDS.flatMap(({ title, rows }) =>
    rows.flatMap(({ panels }) =>
      panels.flatMap((panel) =>
        panel.queries.map(({ expression }) => ({ panel: `${title}, ${panel.title}`, expression })),
      ),
    ),
  );
}

/**
 * An expression as Grafana sends it, with its variables replaced.
 * @param window such as `1m`
 */
export function resolveExpression(expression: string, runId: string, window: string): string {
  return expression.replaceAll('$run', runId).replaceAll('$__rate_interval', window);
}
