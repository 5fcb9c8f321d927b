import { stringify } from 'yaml';
import { alerts } from './alerts.js';
import { Durations, SCRAPE_SECONDS } from './durations.js';
import { JOBS } from './metric-names.js';
import { recordingRules } from './recording-rules.js';

/** Where Prometheus finds a coordinator and its workers: over HTTP, or in files that are kept up to date. */
export type Discovery =
  | { readonly kind: 'http'; readonly coordinator: string }
  | { readonly kind: 'files'; readonly coordinator: string; readonly workers: string };

/** What differs from the files in `deploy/prometheus`. */
export interface PrometheusOptions {
  readonly discovery: Discovery;
  /** The file of the rules, as Prometheus finds it. */
  readonly rules: string;
  /** All times of scrapes and rules are so many times as long; default: 1. */
  readonly timeScale?: number;
}

/** `prometheus.yml`. */
export function prometheusConfig({ discovery, rules, timeScale = 1 }: PrometheusOptions): string {
  const interval = new Durations(timeScale).of(SCRAPE_SECONDS);
  const [coordinator, workers] =
    discovery.kind === 'http'
      ? [
          { static_configs: [{ targets: [discovery.coordinator] }] },
          { http_sd_configs: [{ url: `http://${discovery.coordinator}/sd/workers`, refresh_interval: interval }] },
        ]
      : [
          { file_sd_configs: [{ files: [discovery.coordinator] }] },
          { file_sd_configs: [{ files: [discovery.workers] }] },
        ];
  return yaml({
    global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
    rule_files: [rules],
    scrape_configs: [
      { job_name: JOBS.coordinator, ...coordinator },
      { job_name: JOBS.workers, ...workers },
    ],
  });
}

/** `rules.yml`: what Prometheus computes ahead, and when it warns whom. */
export function prometheusRules(timeScale = 1): string {
  const durations = new Durations(timeScale);
  const interval = durations.of(SCRAPE_SECONDS);
  const recorded = recordingRules(durations).map(({ name, expression }) => ({ record: name, expr: expression }));
  const alerting = alerts(durations).map((alert) => ({
    alert: alert.name,
    expr: alert.expression,
    ...(alert.forSeconds === 0 ? {} : { for: durations.of(alert.forSeconds) }),
    labels: { severity: alert.severity },
    annotations: {
      summary: alert.summary,
      description: alert.description,
      runbook_url: `docs/runbooks/${alert.runbook}`,
    },
  }));
  return yaml({
    groups: [
      { name: 'weft-recorded', interval, rules: recorded },
      { name: 'weft-alerts', interval, rules: alerting },
    ],
  });
}

/** The file that gives Grafana its data source. @param prometheus the address of Prometheus, `http://…` */
export function grafanaDataSources(prometheus: string): string {
  return yaml({
    apiVersion: 1,
    datasources: [
      {
        name: 'Weft',
        uid: 'weft-prometheus',
        type: 'prometheus',
        access: 'proxy',
        url: prometheus,
        isDefault: true,
      },
    ],
  });
}

/** The file that tells Grafana where its dashboards lie. */
export function grafanaProviders(folder: string): string {
  return yaml({
    apiVersion: 1,
    providers: [{ name: 'weft', folder: 'Weft', type: 'file', options: { path: folder } }],
  });
}

const yaml = (value: unknown) => stringify(value, { lineWidth: 0 });
