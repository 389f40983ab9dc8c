/** The parts of the program that check something, under one name: a copy of it with one check taken out is a mutant. */
export { createAuthenticator } from "../../src/auth/authenticate.ts";
export { isCanonicalText } from "../../src/auth/canonical-json.ts";
export { parseCallAuth, parseSignatures } from "../../src/auth/credential.ts";
export { Keyring, parseKeyring } from "../../src/auth/keyring.ts";
export { LogChain, logEntryText } from "../../src/auth/log-chain.ts";
export { createVerifier } from "../../src/auth/native-verifier.ts";
export { missingApprovals } from "../../src/auth/policy.ts";
export { Sessions } from "../../src/auth/session.ts";
export { isCheckedKey, isCheckedSignature } from "../../src/auth/signature.ts";
export { readTrustedText } from "../../src/auth/trusted-file.ts";
export { verifyReceipt } from "../../src/client/receipt.ts";
export { createSubmit } from "../../src/jobs/submit.ts";
export { createDispatcher } from "../../src/rpc/dispatcher.ts";
export { createJobVerifier } from "../../src/runner/job-verifier.ts";
export { createEnrol } from "../../src/runners/enrol.ts";
export { createRedisJobSource } from "../../src/store/redis-source.ts";
export { createRedisStore } from "../../src/store/redis-store.ts";
