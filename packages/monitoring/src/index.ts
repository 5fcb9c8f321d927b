export { grafanaDataSources, grafanaProviders, prometheusConfig, prometheusRules } from './configuration.js';
export { panelExpressions, resolveExpression } from './dashboards/dashboards.js';
