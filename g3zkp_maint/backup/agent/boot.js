// The only part that travels as an argument, so it is short: argument lists are limited, and logged. Reads the program
// from stdin, its length first, as this stream need not have an end.
const fs=require('fs'),read=n=>{const b=Buffer.alloc(n);for(let o=0;o<n;){let k=0;
try{k=fs.readSync(0,b,o,n-o)}catch(e){if(e.code!=='EAGAIN')throw e;
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0,2);continue}
if(!k)process.exit(74);o+=k}return b};
new Function('fs','require',read(read(4).readUInt32LE()).toString())(fs,require)
