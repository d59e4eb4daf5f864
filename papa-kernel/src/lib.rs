//! The papa kernel: owns what must survive circusd.
