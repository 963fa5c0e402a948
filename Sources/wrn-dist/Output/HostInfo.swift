import Foundation
import Training

/// CPU, memory and limits of this host, as Linux reports them.
enum HostInfo {
  /// The CPU's name, for example `AMD EPYC 9634`.
  static var cpuModel: String { cpuField("model name") ?? cpuField("CPU part") ?? "unknown" }

  /// The vector instruction sets that affect a run, for example `avx2 fma avx512f`.
  static var vectorUnits: String {
    let flags = Set((cpuField("flags") ?? cpuField("Features") ?? "").split(separator: " "))
    let known: [Substring] = ["avx2", "fma", "avx512f", "avx512_bf16", "asimd", "sve"]
    return known.filter(flags.contains).joined(separator: " ")
  }

  /// The memory installed and available.
  static var memory: String {
    let total = memoryField("MemTotal") ?? 0
    let available = HostMemory().map { "\(gibibytes($0.availableByteCount)) \($0.limit)" } ?? "availability unknown"
    return "\(gibibytes(total)) installed, \(available)"
  }

  /// A resource limit, by its number in Linux's `<sys/resource.h>`; Swift does not import all of the macros.
  enum Limit: UInt32 {
    case fileSize = 1
    case openFiles = 7
    case lockedMemory = 8
  }

  /// Returns a resource limit of this process.
  static func limit(_ resource: Limit) -> String {
    var limits = rlimit()
    guard getrlimit(__rlimit_resource_t(resource.rawValue), &limits) == 0 else { return "unknown" }
    return limits.rlim_cur == rlim_t.max ? "unlimited" : String(limits.rlim_cur)
  }

  /// The peak memory of this process, in bytes.
  static var peakMemory: Int {
    var usage = rusage()
    return getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 ? usage.ru_maxrss * 1024 : 0
  }

  /// Formats a size: `1.5 GiB`.
  static func gibibytes(_ bytes: Int) -> String {
    String(format: "%.1f GiB", Double(bytes) / Double(1 << 30))
  }

  /// The seconds since this process started, with a resolution of 0.01.
  static var secondsSinceStart: Double {
    // The name in parentheses may contain spaces. The start is field 22, the 20th after the name, in ticks since boot.
    let text = (try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8)) ?? ""
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 19, let ticks = Double(fields[19]) else { return .nan }
    var now = timespec()
    clock_gettime(CLOCK_BOOTTIME, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9 - ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  private static func cpuField(_ name: String) -> String? {
    SystemFiles().text(afterNameStartingWith: name, in: "proc/cpuinfo")
  }

  private static func memoryField(_ name: String) -> Int? {
    SystemFiles().number(of: name, in: "proc/meminfo").map { $0 * 1024 }
  }
}
