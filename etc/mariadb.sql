-- The database and the account of ave-logd, for MariaDB and MySQL. Give it a password of your own first.
-- ave-logd makes the tables itself, and changes them as measurements get new columns.

CREATE DATABASE IF NOT EXISTS ave CHARACTER SET utf8mb4;

CREATE USER IF NOT EXISTS 'ave'@'%' IDENTIFIED BY 'CHANGE ME' REQUIRE SSL;
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON ave.* TO 'ave'@'%';

-- For jobs that only ask (ave.report.oursql) and for `ave show` on other hosts.
CREATE USER IF NOT EXISTS 'ave_reader'@'%' IDENTIFIED BY 'CHANGE ME TOO' REQUIRE SSL;
GRANT SELECT ON ave.* TO 'ave_reader'@'%';
