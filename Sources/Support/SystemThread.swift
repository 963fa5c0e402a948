#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Threads of the operating system.
///
/// Foundation's `Thread` does not report a thread that could not be started; a caller that waits for it would never return.
public enum SystemThread {
  /// A thread that could not be started.
  public struct StartError: Error, CustomStringConvertible {
    /// One sentence: which thread, why, and how to fix it.
    public let description: String
  }

  /// Starts a detached thread in the default floating-point environment.
  ///
  /// - Parameters:
  ///   - name: At most 15 characters, as `top -H` and debuggers show it.
  ///   - stackSize: Bytes.
  ///   - body: Runs on the thread, which ends when it returns.
  /// - Throws: ``StartError`` if the system refuses, for example because of `ulimit -u` or too little memory.
  public static func start(
    _ name: String, stackSize: Int = 8 << 20, _ body: @escaping @Sendable () -> Void
  ) throws {
    let start = Unmanaged.passRetained(Body(name: name, run: body)).toOpaque()
    let code = create(stackSize: stackSize, start)
    guard code == 0 else {
      Unmanaged<Body>.fromOpaque(start).release()
      throw StartError(
        description:
          "the thread \(name) could not be started (\(String(cString: strerror(code)))); use fewer --threads, "
          + "or raise the limits of processes and memory (ulimit -u, ulimit -v).")
    }
  }

  /// Creates a detached thread that consumes `start`, and returns the code of `pthread_create`.
  private static func create(stackSize: Int, _ start: UnsafeMutableRawPointer) -> CInt {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackSize)
    pthread_attr_setdetachstate(&attributes, CInt(PTHREAD_CREATE_DETACHED))
    var thread = pthread_t()
    return pthread_create(&thread, &attributes, { SystemThread.main($0) }, start)
  }

  private static func main(_ start: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let start else { return nil }
    let body = Unmanaged<Body>.fromOpaque(start).takeRetainedValue()
    setName(body.name)
    FloatingPointEnvironment.setDefault()
    body.run()
    return nil
  }

  /// Names the calling thread.
  ///
  /// Linux takes the name as a file; `pthread_setname_np` is a GNU extension that Swift does not import.
  private static func setName(_ name: String) {
    guard let file = fopen("/proc/thread-self/comm", "w") else { return }
    fputs(name, file)
    fclose(file)
  }

  private final class Body: Sendable {
    let name: String
    let run: @Sendable () -> Void

    init(name: String, run: @escaping @Sendable () -> Void) {
      self.name = name
      self.run = run
    }
  }
}
