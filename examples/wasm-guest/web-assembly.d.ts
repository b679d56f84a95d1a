/** What the example uses of WebAssembly: the compiler's own declarations come with the DOM, which Node lacks. */

declare global {
  namespace WebAssembly {
    class Memory {
      constructor(size: { initial: number; maximum: number; shared: true });
      readonly buffer: ArrayBufferLike;
    }
    class Module {
      constructor(bytes: Uint8Array);
    }
    class Instance {
      constructor(module: Module, imports: { env: { memory: Memory } });
      readonly exports: object;
    }
  }
}

export {};
