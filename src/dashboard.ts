/** A Grafana dashboard made from the table of metrics: a panel for each row, in the table's order. */
import { METRIC_TABLE, type MetricRow } from "./metric-table.ts";

/** Grid units: the whole width is 24. */
const PANEL = { width: 12, height: 8 } as const;
/** Grafana asks for the data source when the dashboard is imported. */
const DATA_SOURCE = { type: "prometheus", uid: "${DS_PROMETHEUS}" } as const;

/** The dashboard as Grafana imports it (schema version 39, Grafana 10 and newer). */
export function dashboard(): Readonly<Record<string, unknown>> {
  return {
    __inputs: [{ name: "DS_PROMETHEUS", label: "Prometheus", type: "datasource", pluginId: "prometheus" }],
    title: "Horus supervisor",
    uid: "horus-supervisor",
    schemaVersion: 39,
    time: { from: "now-1h", to: "now" },
    refresh: "10s",
    panels: Object.values<MetricRow>(METRIC_TABLE).map(panel),
  };
}

function panel(row: MetricRow, index: number): Readonly<Record<string, unknown>> {
  return {
    id: index + 1,
    type: "timeseries",
    title: row.type === "histogram" ? `${row.help} (99th percentile)` : row.help,
    description: row.name,
    datasource: DATA_SOURCE,
    gridPos: {
      x: (index % 2) * PANEL.width,
      y: Math.floor(index / 2) * PANEL.height,
      w: PANEL.width,
      h: PANEL.height,
    },
    fieldConfig: { defaults: { unit: unitOf(row), min: 0 }, overrides: [] },
    targets: [{ refId: "A", datasource: DATA_SOURCE, expr: expressionOf(row), legendFormat: legendOf(row) }],
  };
}

function expressionOf({ name, type, labels }: MetricRow): string {
  const by = labels.length === 0 ? "" : ` by (${labels.join(", ")})`;
  if (type === "counter") return `sum${by} (rate(${name}[5m]))`;
  if (type === "gauge") return `max${by} (${name})`;
  return `histogram_quantile(0.99, sum by (${["le", ...labels].join(", ")}) (rate(${name}_bucket[5m])))`;
}

function legendOf({ labels }: MetricRow): string {
  return labels.map((label) => `{{${label}}}`).join(" ");
}

function unitOf({ name, type }: MetricRow): string {
  if (name.endsWith("_seconds")) return "s";
  return type === "counter" ? "ops" : "short";
}
