import { describe, expect, test } from "vitest";

import { dashboard } from "../../src/dashboard.ts";
import { METRIC_TABLE } from "../../src/metric-table.ts";

describe("The dashboard", () => {
  const text = JSON.stringify(dashboard());

  test("has a panel for each row of the table, none over another", () => {
    const { panels } = dashboard();
    if (!Array.isArray(panels)) throw new TypeError("no panels");
    expect(panels).toHaveLength(Object.keys(METRIC_TABLE).length);
    for (const { name } of Object.values(METRIC_TABLE)) expect(text).toContain(`"description":"${name}"`);
    const places = new Set(
      panels.map((panel: unknown) => JSON.stringify(panel).replace(/.*"gridPos":(\{[^}]*\}).*/u, "$1")),
    );
    expect(places.size).toBe(panels.length);
  });

  test("asks for rates of counters, percentiles of histograms and values of gauges, by their labels", () => {
    expect(text).toContain("sum by (method, code, transport) (rate(horus_calls_total[5m]))");
    expect(text).toContain("sum (rate(horus_leases_lost_total[5m]))");
    expect(text).toContain(
      "histogram_quantile(0.99, sum by (le, method) (rate(horus_call_duration_seconds_bucket[5m])))",
    );
    expect(text).toContain("max by (state, reason) (horus_jobs)");
    expect(text).toContain('"legendFormat":"{{method}} {{code}} {{transport}}"');
  });

  test("follows the naming conventions: counters end in _total, times are in seconds, labels are few and fixed", () => {
    for (const { name, type, labels } of Object.values(METRIC_TABLE)) {
      expect(name).toMatch(/^horus_[a-z_]+$/u);
      expect(name.endsWith("_total")).toBe(type === "counter");
      for (const label of labels) expect(["method", "code", "transport", "state", "reason", "runner"]).toContain(label);
    }
  });
});
