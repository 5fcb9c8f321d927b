import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { COORDINATOR_METRICS, CoordinatorMetrics, RUN_METRICS, serveMetrics, WORKER_METRICS } from '@weft/telemetry';
import { beforeAll, describe, expect, it } from 'vitest';
import { alerts } from './alerts.js';
import { grafanaDataSources, grafanaProviders, prometheusConfig, prometheusRules } from './configuration.js';
import { DASHBOARDS, panelExpressions } from './dashboards/dashboards.js';
import { grafanaDashboard } from './dashboards/grafana.js';
import { Durations } from './durations.js';
import { RECORDED, recordingRules } from './recording-rules.js';

const at = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const read = (path: string) => readFileSync(at(path), 'utf8');
const GENERATED = '# Made of packages/monitoring by `npx vitest run packages/monitoring -u`; do not edit.\n';

const ALERTS = alerts(new Durations());

describe('what is in deploy', () => {
  it('is the configuration and the rules of Prometheus', async () => {
    const config = prometheusConfig({
      discovery: { kind: 'http', coordinator: 'coordinator:9470' },
      rules: 'rules.yml',
    });
    await expect(GENERATED + config).toMatchFileSnapshot(at('deploy/prometheus/prometheus.yml'));
    const files = prometheusConfig({
      discovery: {
        kind: 'files',
        coordinator: '/etc/prometheus/weft-coordinator.json',
        workers: '/shared/weft/prometheus-targets.json',
      },
      rules: 'rules.yml',
    });
    await expect(GENERATED + files).toMatchFileSnapshot(at('deploy/prometheus/prometheus-files.yml'));
    await expect(GENERATED + prometheusRules()).toMatchFileSnapshot(at('deploy/prometheus/rules.yml'));
  });

  it.each(DASHBOARDS)('is the dashboard $uid', async (dashboard) => {
    await expect(grafanaDashboard(dashboard)).toMatchFileSnapshot(
      at(`deploy/grafana/dashboards/${dashboard.uid}.json`),
    );
  });

  it('is the provisioning of Grafana', async () => {
    const folder = 'deploy/grafana/provisioning';
    const sources = grafanaDataSources('http://prometheus:9090');
    await expect(GENERATED + sources).toMatchFileSnapshot(at(`${folder}/datasources/weft.yml`));
    const providers = grafanaProviders('/var/lib/grafana/dashboards');
    await expect(GENERATED + providers).toMatchFileSnapshot(at(`${folder}/dashboards/weft.yml`));
  });

  it('is no dashboard that is not made here', () => {
    const files = readdirSync(at('deploy/grafana/dashboards'));
    expect(files.toSorted()).toEqual(DASHBOARDS.map(({ uid }) => `${uid}.json`).toSorted());
  });
});

describe('an alert', () => {
  it.each(ALERTS)('has a runbook and unit tests: $name', ({ name, runbook }) => {
    const page = read(`docs/runbooks/${runbook}`);
    expect(page).toMatch(new RegExp(`^# ${name}\n`));
    for (const part of ['What it means', 'How to look', 'What to do']) expect(page).toContain(`\n## ${part}\n`);
    expect(read('docs/runbooks/README.md')).toContain(`| ${name} | [${runbook.replace('.md', '')}](${runbook}) |`);
    const tests = read('deploy/prometheus/rules.test.yml').split(`alertname: ${name}\n`).slice(1);
    const fires = tests.map((each) => /^\s+exp_alerts:/.test(each));
    expect(fires).toContain(true);
    expect(fires).toContain(false);
  });

  it('belongs to every runbook', () => {
    const pages = readdirSync(at('docs/runbooks')).filter((name) => name !== 'README.md');
    expect(pages.toSorted()).toEqual(ALERTS.map(({ runbook }) => runbook).toSorted());
  });
});

describe('an expression', () => {
  const declared = new Set<string>([...Object.values(RECORDED), 'up', 'ALERTS']);
  for (const declarations of [COORDINATOR_METRICS, RUN_METRICS, WORKER_METRICS])
    for (const { name, kind } of Object.values(declarations))
      for (const each of kind === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']) declared.add(`${name}${each}`);

  /** What is not declared are the series of any Node program. */
  beforeAll(async () => {
    const server = await serveMetrics({ registry: new CoordinatorMetrics().registry });
    const page = await (await fetch(`http://${server.address}/metrics`)).text();
    await server.close();
    for (const [, name = ''] of page.matchAll(/^# TYPE ((?:process|nodejs)_\w+)/gm)) declared.add(name);
  });

  const seriesIn = (expression: string) =>
    [
      ...expression
        .replaceAll(/"[^"]*"/g, '')
        .matchAll(/\b(?:(?:weft|process|nodejs)_\w+|weft:[\w:]+|ALERTS|up(?={))/g),
    ].map(([name]) => name);

  it('names only series that are declared', () => {
    const rules = [...ALERTS, ...recordingRules(new Durations())].map(({ name, expression }) => ({
      panel: name,
      expression,
    }));
    const all = [...rules, ...panelExpressions()];
    const unknown = all.flatMap(({ panel, expression }) =>
      seriesIn(expression).flatMap((name) => (declared.has(name) ? [] : `${panel}: ${name}`)),
    );
    expect(unknown).toEqual([]);
    expect(all.filter(({ expression }) => seriesIn(expression).length === 0)).toEqual([]);
  });

  it('takes the labels of the series it sums by, or those of their targets', () => {
    const labels = new Set(
      [COORDINATOR_METRICS, RUN_METRICS, WORKER_METRICS].flatMap((each) =>
        Object.values(each).flatMap((one) => one.labels),
      ) as string[],
    );
    for (const each of ['run', 'rank', 'host', 'role', 'job', 'instance', 'le', 'alertstate']) labels.add(each);
    const used = [...ALERTS, ...panelExpressions()].flatMap(({ expression }) => [
      ...[...expression.matchAll(/\b(?:by|without|on|ignoring) \(([^)]+)\)/g)].flatMap(([, list = '']) =>
        list.split(', '),
      ),
      ...[...expression.matchAll(/(\w+)=~?"/g)].map(([, label = '']) => label),
    ]);
    expect(used.filter((label) => !labels.has(label))).toEqual([]);
  });
});

it('times of rules and scrapes scale together', () => {
  const rules = prometheusRules(0.01);
  expect(rules).toContain('interval: 150ms');
  expect(rules).toContain('increase(weft_run_workers_lost_total[3s])');
  expect(rules).toContain('clamp_min(3 * weft_run_median_step_seconds, 0.6)');
  const config = prometheusConfig({ discovery: { kind: 'http', coordinator: 'a:1' }, rules: 'r.yml', timeScale: 0.01 });
  expect(config).toContain('scrape_interval: 150ms');
  expect(config).toContain('refresh_interval: 150ms');
});
