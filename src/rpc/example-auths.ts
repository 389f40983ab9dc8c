/** `params.auth` of the table's examples: each signed for its method and params by the caller of test/vectors/signing.json. */
import { EXAMPLE_KEYS } from "./examples.ts";
import type { CallAuth, LoginAuth } from "./schema.ts";

/** Over kind `call` with these members (spec: signing, "Every other call"); a test checks every one of them. */
const SIGNATURES: Readonly<Record<string, string>> = {
  get_job:
    "f3ebc37235f66b0be0c7fe29f325034db01e39b557a2f2c08004eb28eb45c56cb43cec20a3543aec569d3fc8eafa575a199c925c0b986ac461c4ec8bc7121f0c",
  list_jobs:
    "06ab0e423f65e552059e8ae5f6f9109b8f0378d09fa937154c261266f2c9c0a2892809da8fd3f4db85b1cf52f1bc33d25eb4d4fe66b0f4c3b476ab6967e43c0e",
  wait_job:
    "57bcf10b400bce41645255f6e793c37e7329379b4695ede2a255cbb83f8396fdc8c97e6f8b993a7d71725dd95863c57e1563d3399b899fc3d12491aa1f5acf06",
  get_job_logs:
    "a5b02a958ba3fcafdde00dc7b219c37ce7a53529a01e69181be0e82bd296b4ce01bca7fed325df311eec0fbf0a8dcb17dc52c2328e039f9670ff598ee5d03901",
  cancel_job:
    "c48d732dcdf578eba4231f772a382c5ac4cbebcbc2f5f37bc878e7facfe6e006515b0644d86da2edc85d243a4d92f1615a34ee7c5e76e2a6100e3f1f9c79180d",
  delete_job:
    "81bdf4120b6feaa146233d31d0fb973c10a9306dd8a065237a842ed698e736d2c5b04a07b3d62b3a28bc4c619d2d2d925b2d07322fc8762e7167887899ba7001",
  register_runner:
    "4ae62fab639b0f09c60f6bd7d2ccd21c06eb337ee15518ca9d9f54a85cd406ad0bbf55048a327098324edca97cb6429902fe05d878c80bddad52b20ddb808e00",
  list_runners:
    "88bdadf640bfd490d8f96c57e23bd6b05083b12b65deeffbc45c775c3bffa8724b99f453779b79d30a9b1ff7be069f2f8464de3571f03aab1378004dcbe83906",
  get_runner_status:
    "eb40f282761869be0ac987c8101a118f8ef1c7d714ff798e056cd15743523bd3a274d7a85ac1bc12018fd086a171d6baed1314ce424f4410b1b5cef49afab008",
  remove_runner:
    "12a6166002123bb5a2328885014a111ed28b6b410fbea1ae5e3e3982178e885fd3c5ca4c915b595cb633d8c323fb0b07caf40bddb711a0161e149eeae829f206",
  whoami:
    "b9307b866b57242bde1706ef7b3b248a6ef208cdd280cee92f05767e916786b632721dc1632049020b6dcbf4f0cdb09be257eaec91ee6543f0fd268a3fa6dd0d",
  list_peers:
    "a4111c26d3323342287ae73da020e82d8b4ecc5e9b3675408a98eac2dfa0c5c43cf433f04ff6e753d297985e0737bead07e3f61e57f4cbd4181a48d6019e030a",
  subscribe_job:
    "6e8572a79f3845efe150276885964d3f859d5e79fe27bd248b09d3a228070c5f1957222b9ed37b7c69b0c93b871c00dd12cc1489cfef0a2499c8743a92ae2600",
  unsubscribe_job:
    "541aafe37612da813517b0b5adb4ed33e24137381adfd62257446208889e438db3bfb0417848a05e012c29113ed9385a86d32919da30c6a6c43db32b450caf0d",
};

/** Over kind `login`: the one of test/vectors/signing.json. */
const LOGIN: LoginAuth = {
  v: 1,
  aud: EXAMPLE_KEYS.supervisor,
  key: EXAMPLE_KEYS.caller,
  challenge: "f".repeat(64),
  iat: 1_790_000_020,
  exp: 1_790_000_080,
  sig: "b4e417a4017bbcc03d17ea889d64734272bc06f9d33e2bab9123ae859e9aa083f05e98d529bcefab3249ff11ce25019fd08d4bd1a5aa420f3ccfa44104ab4503",
};

const FIRST_BYTE = 0x01;

/** A nonce of its own for each method: its place in the list, repeated. */
function nonceOf(index: number): string {
  return (FIRST_BYTE + index).toString(16).padStart(2, "0").repeat(16);
}

/** The credential of a method's example; undefined for methods that take none. */
export function exampleAuth(method: string): CallAuth | LoginAuth | undefined {
  if (method === "auth_login") return LOGIN;
  const sig = SIGNATURES[method];
  if (sig === undefined) return undefined;
  return {
    v: 1,
    aud: EXAMPLE_KEYS.supervisor,
    key: EXAMPLE_KEYS.caller,
    iat: 1_790_000_000,
    exp: 1_790_000_120,
    nonce: nonceOf(Object.keys(SIGNATURES).indexOf(method)),
    sig,
  };
}
