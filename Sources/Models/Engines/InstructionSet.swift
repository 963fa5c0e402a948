import Kernels
import Tensors

#if arch(x86_64)
  import KernelsAVX512
#endif

/// The instruction sets that the native kernels are built for, widest first.
public enum InstructionSet: String, Sendable, CaseIterable {
  #if arch(x86_64)
    /// x86-64-v4.
    case avx512
    /// x86-64-v3: AVX2 and FMA.
    case avx2
  #else
    /// The baseline of 64-bit ARM.
    case neon
  #endif

  /// Whether this CPU and its operating system can run the kernels.
  public var isSupported: Bool {
    #if arch(x86_64)
      isSupported(by: .current)
    #else
      true
    #endif
  }

  #if arch(x86_64)
    /// Whether a CPU with these features can run the kernels, a function of the feature bits alone.
    package func isSupported(by features: CPUFeatures) -> Bool {
      switch self {
      case .avx512: features.contains(.x86V4)
      case .avx2: features.contains(.x86V3)
      }
    }
  #endif

  /// The kernels compiled for it.
  ///
  /// - Precondition: ``isSupported``; so much as making the table may use the wider instructions.
  public var kernels: ConvolutionKernelTable {
    precondition(isSupported, "kernels for \(rawValue) on a CPU without it")
    return switch self {
    #if arch(x86_64)
      case .avx512: KernelsAVX512.KernelBuild.kernels()
      case .avx2: Kernels.KernelBuild.kernels()
    #else
      case .neon: Kernels.KernelBuild.kernels()
    #endif
    }
  }

  /// Loops compiled for it that measure what the CPU can do at most.
  ///
  /// - Precondition: ``isSupported``.
  public var peakKernels: RooflineKernels {
    precondition(isSupported, "loops for \(rawValue) on a CPU without it")
    return switch self {
    #if arch(x86_64)
      case .avx512: KernelsAVX512.KernelBuild.peakKernels()
      case .avx2: Kernels.KernelBuild.peakKernels()
    #else
      case .neon: Kernels.KernelBuild.peakKernels()
    #endif
    }
  }

  /// Chooses what the native kernels run on: the widest set that this CPU has, or the one asked for.
  ///
  /// - Parameter asked: The value of `WRN_ISA`, if set.
  /// - Returns: nil if the CPU has none of them.
  /// - Throws: ``Unavailable`` if the one asked for is unknown or the CPU lacks it.
  public static func choose(asked: String?) throws -> InstructionSet? {
    guard let asked, !asked.isEmpty else { return allCases.first(where: \.isSupported) }
    guard let found = InstructionSet(rawValue: asked), found.isSupported else {
      throw Unavailable(asked: asked)
    }
    return found
  }

  /// An instruction set that cannot be used here.
  public struct Unavailable: Error, CustomStringConvertible {
    /// What was asked for.
    public let asked: String

    /// What is wrong and how to mend it.
    public var description: String {
      let usable = allCases.filter(\.isSupported).map(\.rawValue)
      let problem =
        InstructionSet(rawValue: asked) == nil
        ? "is no instruction set that kernels are built for" : "is not what this CPU can run"
      let remedy =
        usable.isEmpty
        ? "unset it; this CPU computes with --engine blas"
        : "unset it or set it to \(usable.joined(separator: " or "))"
      return "WRN_ISA=\(asked) \(problem); \(remedy)."
    }
  }
}
