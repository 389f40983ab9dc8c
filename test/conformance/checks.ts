/** THE table of checks: the long ones first, so that the short ones run beside them. */
import type { Check } from "./check.ts";
import { ENDING_CHECKS } from "./checks/endings.ts";
import { EXECUTION_CHECKS } from "./checks/execution.ts";
import { LEASE_CHECKS } from "./checks/leases.ts";
import { LIMIT_CHECKS } from "./checks/limits.ts";
import { OUTAGE_CHECKS } from "./checks/outages.ts";
import { VERIFICATION_CHECKS } from "./checks/verification.ts";

export const CHECKS: readonly Check[] = [
  ...LEASE_CHECKS,
  ...OUTAGE_CHECKS,
  ...ENDING_CHECKS,
  ...EXECUTION_CHECKS,
  ...LIMIT_CHECKS,
  ...VERIFICATION_CHECKS,
];
