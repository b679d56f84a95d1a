/** A guest program that ends its worker in the middle of its work. */

export default function exit(): never {
  // eslint-disable-next-line node/no-process-exit -- this is what the test is about
  process.exit(3);
}
