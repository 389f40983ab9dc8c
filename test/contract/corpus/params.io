# Parameters and credentials: paths, unknown names, who may.

# an unknown parameter
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": {"verbose": true}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.verbose","expected":"no such parameter"}},"id":1}

# __proto__ as a parameter
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": {"__proto__": {}}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.__proto__","expected":"no such parameter"}},"id":1}

# a credential where none is taken
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": {"auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.auth","expected":"no such parameter"}},"id":1}

# a missing parameter
>> {"jsonrpc": "2.0", "id": 1, "method": "get_job", "params": {"auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.id","expected":"required"}},"id":1}

# no params where one is required
>> {"jsonrpc": "2.0", "id": 1, "method": "get_runner_status"}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.name","expected":"required"}},"id":1}

# a wrong type
>> {"jsonrpc": "2.0", "id": 1, "method": "list_jobs", "params": {"limit": "10", "auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.limit","expected":"must be integer"}},"id":1}

# beyond a bound
>> {"jsonrpc": "2.0", "id": 1, "method": "list_jobs", "params": {"limit": 201, "auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.limit","expected":"must be <= 200"}},"id":1}

# none of the words
>> {"jsonrpc": "2.0", "id": 1, "method": "list_jobs", "params": {"state": "lost", "auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.state","expected":"one of \"pending\", \"running\", \"completed\", \"failed\", \"timeout\", \"cancelled\", \"expired\""}},"id":1}

# an upper-case id
>> {"jsonrpc": "2.0", "id": 1, "method": "get_job", "params": {"id": "0190A3B2-7C4D-7E5F-8A9B-0C1D2E3F4A5B", "auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.id","expected":"must match pattern \"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$\""}},"id":1}

# no credential
>> {"jsonrpc": "2.0", "id": 1, "method": "whoami"}
<< {"jsonrpc":"2.0","error":{"code":-32001,"message":"Unauthenticated","data":{"fix":"Sign with an enrolled key: a call in params.auth, a job in params.signatures. How: info.description of rpc.discover. The supervisor command and the client library sign by themselves."}},"id":1}

# an empty credential
>> {"jsonrpc": "2.0", "id": 1, "method": "whoami", "params": {"auth": {}}}
<< {"jsonrpc":"2.0","error":{"code":-32001,"message":"Unauthenticated","data":{"fix":"Sign with an enrolled key: a call in params.auth, a job in params.signatures. How: info.description of rpc.discover. The supervisor command and the client library sign by themselves."}},"id":1}

# a credential of the wrong kind
>> {"jsonrpc": "2.0", "id": 1, "method": "whoami", "params": {"signatures": []}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.signatures","expected":"no such parameter"}},"id":1}

# a good credential
>> {"jsonrpc": "2.0", "id": 1, "method": "whoami", "params": {"auth": "alice"}}
<< {"jsonrpc":"2.0","result":{"key":"key of alice","name":"alice-laptop","principal":"alice","roles":["submitter"],"runners":["*"]},"id":1}

# a role that may not
>> {"jsonrpc": "2.0", "id": 1, "method": "list_peers", "params": {"auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32003,"message":"Forbidden"},"id":1}

# a key without any role
>> {"jsonrpc": "2.0", "id": 1, "method": "whoami", "params": {"auth": "nobody"}}
<< {"jsonrpc":"2.0","error":{"code":-32003,"message":"Forbidden"},"id":1}

# each entry of a batch has its own credential
>> [{"jsonrpc": "2.0", "id": 1, "method": "list_peers", "params": {"auth": "root"}}, {"jsonrpc": "2.0", "id": 2, "method": "list_peers"}]
<< [{"jsonrpc":"2.0","result":{"peers":[]},"id":1},{"jsonrpc":"2.0","error":{"code":-32001,"message":"Unauthenticated","data":{"fix":"Sign with an enrolled key: a call in params.auth, a job in params.signatures. How: info.description of rpc.discover. The supervisor command and the client library sign by themselves."}},"id":2}]

# a job with a field that is not signed
>> {"jsonrpc": "2.0", "id": 1, "method": "create_job", "params": {"signatures": [], "job": {"v": 1, "aud": "ed25519:a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0", "id": "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", "caller_id": "ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737", "runner": "build", "payload": "", "timeout": 1, "created_at": 0, "expires_at": 0, "shell": "zsh"}}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.job.shell","expected":"no such parameter"}},"id":1}

# neither of two words
>> {"jsonrpc": "2.0", "id": 1, "method": "create_job", "params": {"signatures": [], "job": {"v": 1, "aud": "ed25519:a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0", "id": "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", "caller_id": "ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737", "runner": "build", "payload": "", "timeout": 1, "on_loss": "cry", "created_at": 0, "expires_at": 0}}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.job.on_loss","expected":"\"retry\" or \"fail\""}},"id":1}

# a job of another version
>> {"jsonrpc": "2.0", "id": 1, "method": "create_job", "params": {"job": {"v": 2}}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.job.aud","expected":"required"}},"id":1}

# 60.0 and 6e1 are the integer 60
>> {"jsonrpc": "2.0", "id": 1, "method": "list_jobs", "params": {"limit": 6e1, "auth": "alice"}}
<< {"jsonrpc":"2.0","result":{"jobs":[]},"id":1}

# an integer with a fraction
>> {"jsonrpc": "2.0", "id": 1, "method": "list_jobs", "params": {"limit": 6.5, "auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.limit","expected":"must be integer"}},"id":1}
