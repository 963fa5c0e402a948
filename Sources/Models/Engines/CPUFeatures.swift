#if arch(x86_64)
  import CCPUID

  /// The feature bits of an x86-64 CPU and its operating system, as CPUID and XGETBV report them.
  ///
  /// Bit numbers are those of Intel's Software Developer's Manual, volume 2A, and of AMD's manual, volume 3.
  package struct CPUFeatures: Hashable, Sendable {
    /// CPUID leaf 1, ECX.
    package var leaf1ECX: UInt32
    /// CPUID leaf 7, subleaf 0, EBX.
    package var leaf7EBX: UInt32
    /// CPUID leaf 0x8000_0001, ECX.
    package var extendedLeaf1ECX: UInt32
    /// The register states that the operating system saves; 0 without OSXSAVE.
    package var xcr0: UInt64

    /// Creates a set of feature bits.
    package init(leaf1ECX: UInt32, leaf7EBX: UInt32, extendedLeaf1ECX: UInt32, xcr0: UInt64) {
      self.leaf1ECX = leaf1ECX
      self.leaf7EBX = leaf7EBX
      self.extendedLeaf1ECX = extendedLeaf1ECX
      self.xcr0 = xcr0
    }

    /// The features of this CPU and its operating system.
    package static let current: CPUFeatures = {
      let leaf1ECX = CCPUID_leaf(1, 0).ecx
      let hasXGETBV = leaf1ECX & (1 << 27) != 0
      return CPUFeatures(
        leaf1ECX: leaf1ECX, leaf7EBX: CCPUID_leaf(7, 0).ebx, extendedLeaf1ECX: CCPUID_leaf(0x8000_0001, 0).ecx,
        xcr0: hasXGETBV ? CCPUID_xcr0() : 0)
    }()

    /// Every feature of x86-64-v3 beyond the baseline (x86-64 psABI, table 3.1): the compiler may use any of them.
    package static let x86V3 = CPUFeatures(
      // SSE3, SSSE3, FMA, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, OSXSAVE, AVX, F16C.
      leaf1ECX: bits(0, 9, 12, 13, 19, 20, 22, 23, 27, 28, 29),
      // BMI1, AVX2, BMI2.
      leaf7EBX: bits(3, 5, 8),
      // LAHF and SAHF, LZCNT.
      extendedLeaf1ECX: bits(0, 5),
      // XMM and YMM registers.
      xcr0: bits(1, 2))

    /// Every feature of x86-64-v4 beyond the baseline.
    package static let x86V4 = CPUFeatures(
      leaf1ECX: x86V3.leaf1ECX,
      // AVX512F, AVX512DQ, AVX512CD, AVX512BW, AVX512VL.
      leaf7EBX: x86V3.leaf7EBX | bits(16, 17, 28, 30, 31), extendedLeaf1ECX: x86V3.extendedLeaf1ECX,
      // Mask registers, upper halves of ZMM0 to ZMM15, ZMM16 to ZMM31.
      xcr0: x86V3.xcr0 | bits(5, 6, 7))

    /// Whether these features include all of `required`.
    package func contains(_ required: CPUFeatures) -> Bool {
      leaf1ECX & required.leaf1ECX == required.leaf1ECX && leaf7EBX & required.leaf7EBX == required.leaf7EBX
        && extendedLeaf1ECX & required.extendedLeaf1ECX == required.extendedLeaf1ECX
        && xcr0 & required.xcr0 == required.xcr0
    }

    private static func bits<Word: FixedWidthInteger>(_ numbers: Int...) -> Word {
      numbers.reduce(0) { $0 | (1 << $1) }
    }
  }
#endif
