import { PanelBuilder as BarGauge } from '@grafana/grafana-foundation-sdk/bargauge';
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import {
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  type Panel as GrafanaPanel,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries';
import { run } from '../metric-names.js';
import type { Dashboard, Panel, Query } from './dashboard.js';

/** Chosen above a dashboard, so that it works in any Grafana. */
const DATA_SOURCE = { type: 'prometheus', uid: `\${datasource}` };

/** A dashboard as the JSON that Grafana reads. */
export function grafanaDashboard({ uid, title, description, isAboutRun, rows }: Dashboard): string {
  const builder = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(['weft'])
    .refresh('15s')
    .time({ from: 'now-1h', to: 'now' })
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .withVariable(new DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'));
  if (isAboutRun) builder.withVariable(runVariable());
  for (const row of rows) {
    builder.withRow(new RowBuilder(row.title));
    for (const panel of row.panels) builder.withPanel(grafanaPanel(panel));
  }
  return `${JSON.stringify(builder.build(), undefined, 2)}\n`;
}

function runVariable(): QueryVariableBuilder {
  return new QueryVariableBuilder('run')
    .label('Run')
    .datasource(DATA_SOURCE)
    .query(`label_values(${run.info}, run)`)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalDesc);
}

function grafanaPanel(panel: Panel): Builder<GrafanaPanel> {
  const { kind = 'lines', queries, width } = panel;
  const targets = queries.map((query, at) => target(query, at, kind === 'number' || kind === 'bars'));
  const filled = <Made extends Stat | BarGauge | TimeSeries>(made: Made): Made => {
    made.title(panel.title).datasource(DATA_SOURCE).unit(panel.unit).targets(targets);
    if (panel.help !== undefined) made.description(panel.help);
    return made;
  };
  if (kind === 'number')
    return filled(new Stat())
      .reduceOptions(lastValue())
      .span(width ?? 4)
      .height(4);
  if (kind === 'bars')
    return filled(new BarGauge())
      .reduceOptions(lastValue())
      .span(width ?? 12)
      .height(8);
  const lines = filled(new TimeSeries())
    .span(width ?? 12)
    .height(8)
    .showPoints(VisibilityMode.Never)
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi))
    .legend(legend());
  return kind === 'stacked' ? lines.stacking(stacking()).fillOpacity(40) : lines;
}

function lastValue() {
  return new ReduceDataOptionsBuilder().calcs(['lastNotNull']);
}

function legend() {
  return new VizLegendOptionsBuilder()
    .displayMode(LegendDisplayMode.List)
    .placement(LegendPlacement.Bottom)
    .showLegend(true);
}

function stacking() {
  return new StackingConfigBuilder().mode(StackingMode.Normal);
}

function target({ expression, legend: name }: Query, at: number, isInstant: boolean): Builder<Dataquery> {
  const query = new DataqueryBuilder().refId('ABCDEFGH'.charAt(at)).expr(expression).legendFormat(name);
  return isInstant ? query.instant() : query.range();
}
