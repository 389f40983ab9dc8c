# Bytes and JSON: what never becomes a request.

# an empty body
>>
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"empty"}},"id":null}

# white space alone
>>hex 20 0a 09
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not JSON"}},"id":null}

# bytes that are not UTF-8
>>hex 7b 22 6a ff 22 3a 31 7d
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not UTF-8"}},"id":null}

# half of a surrogate pair, encoded (CESU-8)
>>hex 22 ed a0 80 22
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not UTF-8"}},"id":null}

# a byte order mark
>>hex ef bb bf 7b 7d
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not JSON"}},"id":null}

# UTF-16
>>hex 7b 00 7d 00
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not JSON"}},"id":null}

# two values
>> {} {}
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not JSON"}},"id":null}

# JSON with a comment
>> {"jsonrpc": "2.0", /* one */ "id": 1, "method": "list_runners"}
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not JSON"}},"id":null}

# NaN
>> {"jsonrpc": "2.0", "id": NaN, "method": "list_runners"}
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not JSON"}},"id":null}

# a key twice
>> {"jsonrpc": "2.0", "id": 1, "id": 2, "method": "list_runners"}
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"duplicate key \"id\""}},"id":null}

# a key twice, once in disguise
>> {"jsonrpc": "2.0", "id": 1, "method": "whoami", "params": {"auth": "alice", "\u0061uth": "root"}}
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"duplicate key \"auth\""}},"id":null}

# the same key in two objects is no duplicate
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": {}, "x": [{"a": 1}, {"a": 2, "b": {"a": 3}}]}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":1}

# 33 levels
>> [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"nested deeper than 32 levels"}},"id":null}

# 32 levels
>> [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
<< [{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"request","expected":"an object"}},"id":null}]

# brackets inside a string are no levels
>> {"jsonrpc": "2.0", "id": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{\"", "method": "rpc.discover"}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{\""}

# a string
>> "rpc.discover"
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"request","expected":"an object"}},"id":null}

# null
>> null
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"request","expected":"an object"}},"id":null}

# a batch in a batch
>> [[]]
<< [{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"request","expected":"an object"}},"id":null}]

# a batch of one stays a batch
>> [{"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}]
<< [{"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":1}]

# one id twice in a batch: each is answered
>> [{"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}, {"jsonrpc": "2.0", "id": 1, "method": "nothing"}]
<< [{"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":1},{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}]

# an invalid entry does not spoil the batch
>> [{"jsonrpc": "1.0", "id": 7, "method": "rpc.discover"}, {"jsonrpc": "2.0", "id": 8, "method": "rpc.discover"}]
<< [{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"jsonrpc","expected":"\"2.0\""}},"id":7},{"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":8}]
